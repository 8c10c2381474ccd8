# shellcheck shell=bash
# Edits, and how long each node takes to live by them.

# Sends patches and polls over one open connection: what is measured is the product, not kubectl's start.
api_start() {
  kubectl proxy --port=0 >"$WORK/proxy" 2>&1 &
  eventually 300 "proxy to the API server" grep -q 'Starting to serve' "$WORK/proxy"
  PROXY=http://$(sed 's/.* //' "$WORK/proxy")
  API=$PROXY/apis/meanet.dev/v1alpha1/namespaces/$NS
}

# patch_offload VALUE
patch_offload() {
  curl -sf -X PATCH -H 'content-type: application/merge-patch+json' "$API/meanetdeployments/$NAME" \
    -d "{\"spec\":{\"routing\":{\"offloadAbove\":$1}}}" >/dev/null || die "the threshold $1 was refused"
}

# threshold VALUE [COMMAND...]: edits the threshold, by COMMAND where one is given, and waits until every node lives by a
# new revision. Prints the milliseconds that took, by node, as JSON.
threshold() {
  local value=$1 before began now state acked='{}'
  shift
  (($#)) || set -- patch_offload "$value"
  before=$(curl -sf "$API/meanetnodes" | jq -c '[.items[].status.revision]')
  began=$(date +%s%N)
  "$@" >&2
  while :; do
    state=$(curl -sf "$API/meanetnodes" || echo '{"items":[]}')
    now=$((($(date +%s%N) - began) / 1000000))
    acked=$(jq -c --argjson before "$before" --argjson now "$now" --argjson acked "$acked" '[.items[]
      | select(.status.phase == "Live" and (.status.revision as $live | $before | index($live) | not))
      | {(.spec.nodeName): $now}] | add // {} | . + $acked' <<<"$state")
    jq -e --argjson acked "$acked" '(.items | length) as $nodes | $nodes > 0 and ($acked | length) == $nodes' >/dev/null <<<"$state" && break
    ((now < 120000)) || die "the threshold $value is not acknowledged after 120 s" "$(jq -c '[.items[].status | {phase, revision, message}]' <<<"$state")"
  done
  curl -sf "$API/meanetrevisions/$(jq -r '.items[0].status.revision' <<<"$state")" |
    jq -e --argjson value "$value" '.spec.routing.offloadAbove == $value' >/dev/null || die "the live revision is not the one of threshold $value"
  echo "$acked"
}

# on_one_revision: every node lives by the newest revision, which is the deployment's current one.
on_one_revision() {
  deployment | jq -e '.status.observedGeneration == .metadata.generation and .status.nodes.synced == .status.nodes.selected' &&
    twins | jq -e --arg current "$(deployment | jq -r .status.currentRevision)" 'all(.items[]; .status.revision == $current and .status.state == "Synced")'
}

# percentiles: of numbers on standard input, as JSON.
percentiles() {
  jq -sc 'sort | {n: length, p50: .[(length * 0.5 | ceil) - 1], p95: .[(length * 0.95 | ceil) - 1], max: .[-1]}'
}
