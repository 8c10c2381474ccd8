# shellcheck shell=bash
# The cluster, what is installed on it, and what it says.

k() { kubectl -n "$NS" "$@"; }
deployment() { k get meanetdeployment "$NAME" -o json; }
twins() { k get meanetnodes -o json; }

# A cluster: the one of KUBECONFIG, the one that is up, or one of our own.
cluster() {
  title "Cluster"
  if [[ -n ${KUBECONFIG:-} ]]; then
    say "the one of KUBECONFIG: nodes are not cut off and servers not restarted there"
  else
    if ! hack/cluster/cluster status >&2; then
      # shellcheck disable=SC2034 # for finish
      [[ -n ${KEEP_CLUSTER:-} ]] || BROUGHT_UP=yes
    fi
    hack/cluster/cluster up >&2
    OURS=yes
    KUBECONFIG=$(hack/cluster/cluster kubeconfig)
    export KUBECONFIG
  fi
  kubectl get nodes -L meanet.dev/tier >&2
}

# ours: whether nodes may be cut off and servers restarted.
ours() {
  [[ -n ${OURS:-} ]] && return
  say "left out: the cluster is not one of hack/cluster"
  return 1
}

# taken_up REQUEST, answered REQUEST: how far the operator is with a request for retraining.
taken_up() { deployment | jq -e --arg request "$1" '.status.retraining.request == $request'; }
answered() { deployment | jq -e --arg request "$1" '.status.retraining | .request == $request and .phase != "Running"'; }

# retrain: asks for a run and awaits its end, showing on the way what its job says.
retrain() {
  local request job
  request=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  say "kubectl annotate meanetdeployment $NAME meanet.dev/retrain-requested-at=$request"
  k annotate meanetdeployment "$NAME" "meanet.dev/retrain-requested-at=$request" --overwrite >&2
  eventually 300 "the request is taken up" taken_up "$request"
  job=$(deployment | jq -r .status.retraining.job)
  # There is nothing to follow before the container runs.
  { until k logs --follow "job/$job" 2>/dev/null || answered "$request" >/dev/null; do sleep 1; done; } |
    sed -u 's/^[^ ]* *INFO [^ ]* /       training: /' >&2 &
  eventually 3600 "the run has ended" answered "$request"
}

# Images into the nodes, the operator into the cluster.
install() {
  title "Images"
  hack/images | tee "$WORK/images" >&2
  OPERATOR_IMAGE=$(awk '/\/operator:/ {print $1}' "$WORK/images")
  RUNTIME_IMAGE=$(awk '/\/runtime:/ {print $1}' "$WORK/images")
  EDGE_IMAGE=$(awk '/\/edge:/ {print $1}' "$WORK/images")
  # A cluster that somebody else made names its own way to take archives.
  # shellcheck disable=SC2086 # a command and its arguments
  awk '{print $2}' "$WORK/images" | xargs ${MEANET_LOAD:-hack/cluster/cluster load} >&2

  title "Operator"
  # A sample left by an earlier run goes first: its state must not decide about this one's.
  if kubectl get namespace "$NS" >/dev/null 2>&1; then
    kubectl delete namespace "$NS" --timeout=300s >&2
  fi
  kubectl kustomize manifests |
    sed -e "s|meanet.dev/operator:dev|$OPERATOR_IMAGE|; s|meanet.dev/runtime:dev|$RUNTIME_IMAGE|; s|meanet.dev/edge:dev|$EDGE_IMAGE|" |
    kubectl apply --server-side --force-conflicts -f - >&2
  kubectl -n meanet-system rollout status deployment/meanet-operator --timeout=300s >&2
  eventually 300 "CRDs established" kubectl wait --for=condition=Established \
    crd/meanetdeployments.meanet.dev crd/meanetrevisions.meanet.dev crd/meanetnodes.meanet.dev --timeout=1s
}

ready() { k wait "meanetdeployment/$NAME" --for=condition=Ready --timeout=1s; }

# The sample, up to its first answer.
sample() {
  title "A MEANetDeployment"
  local from=$SECONDS
  kubectl apply -f manifests/samples/street-cams.yaml >&2
  eventually 300 "MEANetDeployment is Ready" ready
  figure "ready_seconds $((SECONDS - from))"
  k get meanetdeployments,meanetrevisions,meanetnodes,pods -o wide >&2
  # shellcheck disable=SC2034 # for the tests
  mapfile -t EDGES < <(twins | jq -r '.items[].spec.nodeName')
}
