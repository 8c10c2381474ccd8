# shellcheck shell=bash
title "A node is cut off from the network, and comes back"
if ours; then
  gone=${EDGES[-1]}
  reachable=${EDGES[0]}
  twin() { twins | jq -c --arg node "$1" '.items[] | select(.spec.nodeName == $node).status'; }
  lives_by() {
    twin "$1" | jq -e --arg revision "$(k get meanetrevisions -o json | jq -r --argjson value "$2" '[.items[] | select(.spec.routing.offloadAbove == $value)] | max_by(.spec.number).metadata.name')" \
      '.phase == "Live" and .revision == $revision'
  }
  is_offline() { [[ $(twin "$gone" | jq -r .state) == Offline ]]; }
  nodes=$(kubectl -n meanet-system get pods -l app.kubernetes.io/component=operator -o json | jq -c '[.items[].spec.nodeName]')
  check "the operator runs on no edge, where it would be cut off too" "$nodes" \
    "all(.[]; IN($(printf '"%s"\n' "${EDGES[@]}" | paste -sd,)) | not)"
  threshold 0.5 >/dev/null
  load_start "$gone" load-cut some --seconds 100 --clients 1
  UNDO+=("hack/cluster/cluster restore $gone")
  hack/cluster/cluster cut "$gone" >&2
  eventually 300 "$gone is said to be offline" is_offline
  patch_offload 0.6
  eventually 300 "$reachable takes an edit meanwhile" lives_by "$reachable" 0.6
  k get meanetdeployments,meanetnodes >&2
  from=$SECONDS
  hack/cluster/cluster restore "$gone" >&2
  eventually 300 "$gone catches up" lives_by "$gone" 0.6
  figure "catch_up_seconds $((SECONDS - from))"
  eventually 300 "MEANetDeployment is Ready" ready
  summary=$(load_end load-cut 600)
  table "$summary"
  check "$gone answered on its own all the while" "$summary" '.failures == 0 and .degraded > 0 and .mixed_revisions == 0'
fi
