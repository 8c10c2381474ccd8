# What the tests and the demo share. They know a cluster by its KUBECONFIG only.
# shellcheck shell=bash

CACHE=${MEANET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/meanet}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
export PATH=$CACHE/bin:$PATH
NS=street-cams
NAME=street-cams
WORK=$(mktemp -d)
BROUGHT_UP=

say() { printf '\n== %s\n' "$*" >&2; }
figure() { printf 'FIGURE %s\n' "$*" | tee -a "$WORK/figures"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# check WORDS JSON FILTER: FILTER must hold.
check() {
  jq -e "$3" >/dev/null <<<"$2" || fail "$1: $3 does not hold in $2"
  echo "ok: $1" >&2
}

# eventually SECONDS WORDS COMMAND...: the command must succeed in time.
eventually() {
  local end=$((SECONDS + $1)) words=$2
  shift 2
  until "$@" >"$WORK/eventually" 2>&1; do
    ((SECONDS < end)) || fail "$words: $(tail -3 "$WORK/eventually")"
    sleep 0.5
  done
  echo "ok: $words" >&2
}

k() { kubectl -n "$NS" "$@"; }
deployment() { k get meanetdeployment "$NAME" -o json; }
twins() { k get meanetnodes -o json; }

finish() {
  local code=$?
  trap - EXIT
  if ((code != 0)) && [[ -n ${KUBECONFIG:-} ]]; then
    say "What there was in the end"
    k get pods,jobs,meanetdeployments,meanetrevisions,meanetnodes -o wide >&2 || true
    kubectl -n meanet-system logs deployment/meanet-operator --tail=30 >&2 || true
    k get meanetdeployment "$NAME" -o jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}' >&2 || true
    for part in edge cloud; do
      k logs -l "meanet.dev/component=$part" --tail=10 --prefix >&2 || true
    done
  fi
  if [[ -n ${CORDONED:-} ]]; then
    kubectl uncordon "$CORDONED" >&2 || true
  fi
  local pid
  for pid in $(jobs -p); do
    kill "$pid" 2>/dev/null || true
  done
  if [[ -n $BROUGHT_UP ]]; then
    hack/cluster/cluster down || true
  fi
  rm -rf "$WORK"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# A cluster: the one of KUBECONFIG, the one that is up, or one of our own.
cluster() {
  if [[ -n ${KUBECONFIG:-} ]]; then
    say "Cluster of KUBECONFIG"
  elif hack/cluster/cluster status >/dev/null 2>&1; then
    say "Cluster that is up: $(hack/cluster/cluster status)"
    hack/cluster/cluster up >&2
  else
    say "Bringing up a cluster"
    [[ -n ${KEEP_CLUSTER:-} ]] || BROUGHT_UP=yes
    hack/cluster/cluster up >&2
  fi
  export KUBECONFIG=${KUBECONFIG:-$(hack/cluster/cluster kubeconfig)}
  kubectl get nodes -L meanet.dev/tier >&2
}

# Images into the nodes, the operator and the sample into the cluster.
install() {
  say "Images"
  hack/images | tee "$WORK/images"
  OPERATOR_IMAGE=$(awk '/\/operator:/ {print $1}' "$WORK/images")
  RUNTIME_IMAGE=$(awk '/\/runtime:/ {print $1}' "$WORK/images")
  # A cluster that somebody else made names its own way to take archives.
  # shellcheck disable=SC2086 # a command and its arguments
  awk '{print $2}' "$WORK/images" | xargs ${MEANET_LOAD:-hack/cluster/cluster load} >&2

  say "Operator"
  # A sample left by an earlier run goes first: its state must not decide about this one's.
  if kubectl get namespace "$NS" >/dev/null 2>&1; then
    kubectl delete namespace "$NS" --timeout=180s >&2
  fi
  kubectl kustomize manifests |
    sed -e "s|meanet.dev/operator:dev|$OPERATOR_IMAGE|; s|meanet.dev/runtime:dev|$RUNTIME_IMAGE|" |
    kubectl apply --server-side --force-conflicts -f - >&2
  kubectl -n meanet-system rollout status deployment/meanet-operator --timeout=120s >&2
  eventually 60 "CRDs established" kubectl wait --for=condition=Established \
    crd/meanetdeployments.meanet.dev crd/meanetrevisions.meanet.dev crd/meanetnodes.meanet.dev --timeout=1s
}

sample() {
  say "A MEANetDeployment"
  local from=$SECONDS
  kubectl apply -f manifests/samples/street-cams.yaml >&2
  eventually 300 "MEANetDeployment is Ready" k wait "meanetdeployment/$NAME" --for=condition=Ready --timeout=1s
  figure "ready_seconds $((SECONDS - from))"
  k get meanetdeployments,meanetrevisions,meanetnodes,pods -o wide >&2
  # shellcheck disable=SC2034 # for the tests
  EDGES=$(twins | jq -r '.items[].spec.nodeName')
}

# Test images as CIFAR-100 records.
images() {
  local data
  if data=$(hack/data 2>/dev/null); then
    export MEANET_DATA=$data
    say "Images: CIFAR-100 test images"
  else
    unset MEANET_DATA
    say "Images: drawn by this project, for there is no CIFAR-100 (MEANET_DATA=cifar-100-binary.tar.gz). The weights know nothing of these: accuracy means nothing"
  fi
  "$CARGO_TARGET_DIR/release/meanet" data pack --limit "${1:-1000}" --out "$WORK/records" 2>>"$WORK/log"
}

# load_start NODE POD ARGUMENT...: a pod on the node that sends images through the Service of the edge.
load_start() {
  local node=$1 pod=$2
  shift 2
  jq -n --arg node "$node" --arg pod "$pod" --arg image "$RUNTIME_IMAGE" \
    --arg url "http://$NAME-edge.$NS.svc/v2/models/$NAME" '{
    apiVersion: "v1", kind: "Pod", metadata: {name: $pod, labels: {"app.kubernetes.io/name": "load"}},
    spec: {restartPolicy: "Never", nodeName: $node, automountServiceAccountToken: false,
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: "RuntimeDefault"}},
      containers: [{name: "load", image: $image, imagePullPolicy: "IfNotPresent", stdin: true, stdinOnce: true,
        args: (["load", "--url", $url] + $ARGS.positional),
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: ["ALL"]}}}]}}' \
    --args -- "$@" >"$WORK/$pod.json"
  k delete pod "$pod" --ignore-not-found --wait >&2
  k apply -f "$WORK/$pod.json" >&2
  k wait "pod/$pod" --for=condition=Ready --timeout=60s >&2
  k attach -i "$pod" <"$WORK/records" >/dev/null 2>&1 &
}

# load_end POD SECONDS: prints the summary.
load_end() {
  k wait "pod/$1" --for=jsonpath='{.status.phase}'=Succeeded --timeout="$2s" >&2 || {
    k logs "$1" --tail=20 >&2
    fail "load $1 did not end well"
  }
  k logs "$1" | grep '^{' | tail -1
}

# Sends patches and polls over one open connection: what is measured is the product, not kubectl's start.
api_start() {
  kubectl proxy --port=0 >"$WORK/proxy" 2>&1 &
  eventually 20 "proxy to the API server" grep -q 'Starting to serve' "$WORK/proxy"
  API=http://$(sed 's/.* //' "$WORK/proxy")/apis/meanet.dev/v1alpha1/namespaces/$NS
}

# threshold VALUE: edits the threshold, waits until each edge acknowledges a new revision, prints the milliseconds that took.
threshold() {
  local before began now revisions
  before=$(curl -sf "$API/meanetnodes" | jq -c '[.items[].status.revision]')
  began=$(date +%s%N)
  curl -sf -X PATCH -H 'content-type: application/merge-patch+json' "$API/meanetdeployments/$NAME" \
    -d "{\"spec\":{\"routing\":{\"offloadAbove\":$1}}}" >/dev/null || fail "threshold $1 was refused"
  while :; do
    revisions=$(curl -sf "$API/meanetnodes" || echo '{"items":[]}')
    now=$(date +%s%N)
    if jq -e --argjson before "$before" '[.items[].status | select(.phase == "Live") | .revision] as $now
      | ($now | length) == (.items | length) and ($now | length) > 0 and ($now | unique | length) == 1
      and ($before | index($now[0]) | not)' >/dev/null <<<"$revisions"; then
      break
    fi
    ((now - began < 30000000000)) || fail "threshold $1 is not acknowledged after 30 s: $(jq -c '[.items[].status | {phase, revision, message}]' <<<"$revisions")"
  done
  curl -sf "$API/meanetrevisions/$(jq -r '.items[0].status.revision' <<<"$revisions")" |
    jq -e --argjson value "$1" '.spec.routing.offloadAbove == $value' >/dev/null || fail "the live revision is not the one of threshold $1"
  echo $(((now - began) / 1000000))
}

table() {
  jq -r '"exit\timages\tshare\taccuracy\tp50 ms\tp95 ms", (.exits | to_entries[] |
    [.key, .value.images, (.value.share * 1000 | round / 1000), (.value.accuracy * 1000 | round / 1000),
     .value.latency_ms.p50, .value.latency_ms.p95] | map(tostring) | join("\t")),
    "all: \(.images) images, accuracy \(.accuracy), \(.failures) failures, \(.degraded) degraded, \(.mixed_revisions) mixed"' <<<"$1"
}
