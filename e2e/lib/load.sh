# shellcheck shell=bash
# Images, and pods that send them through the Service of the edge as an application on the node would.

# Where images come from.
source_of_images() {
  local data
  # A data set that is named and not there is a mistake; that there is none is no more than a pity.
  [[ -z ${MEANET_DATA:-} ]] || hack/data >/dev/null
  if data=$(hack/data 2>/dev/null); then
    export MEANET_DATA=$data
    say "images are those of CIFAR-100"
  else
    unset MEANET_DATA
    say "images are drawn by this project, for there is no CIFAR-100 (MEANET_DATA=cifar-100-binary.tar.gz);"
    say "the weights know nothing of these: accuracy means nothing"
  fi
}

# pack NAME ARGUMENT...: images as CIFAR-100 records, in a file for load_start and dataset_put.
pack() {
  local name=$1
  shift
  "$CARGO_TARGET_DIR/release/meanet" data pack --out "$WORK/$name" "$@" 2>>"$WORK/log" ||
    die "failed to pack images" "$(tail -1 "$WORK/log")"
}

# pod NAME NODE JQ ARGUMENT...: runs the runtime in a pod on NODE ("" for any) with standard input open; JQ adds to the pod.
pod() {
  local name=$1 node=$2 more=$3
  shift 3
  jq -n --arg node "$node" --arg pod "$name" --arg image "$RUNTIME_IMAGE" '{
    apiVersion: "v1", kind: "Pod", metadata: {name: $pod, labels: {"app.kubernetes.io/name": "load"}},
    spec: {restartPolicy: "Never", automountServiceAccountToken: false,
      securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: "RuntimeDefault"}},
      containers: [{name: "load", image: $image, imagePullPolicy: "IfNotPresent", stdin: true, stdinOnce: true, args: $ARGS.positional,
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: ["ALL"]}}}]}}
    | if $node == "" then . else .spec.nodeName = $node end | '"$more" --args -- "$@" >"$WORK/$name.json"
  k delete pod "$name" --ignore-not-found --wait >/dev/null 2>&1
  k apply -f "$WORK/$name.json" >/dev/null
  k wait "pod/$name" --for=condition=Ready --timeout=300s >/dev/null ||
    die "the pod $name does not start" "$(k describe pod "$name" | tail -5)"
}

# pod_ended NAME: whether the pod has ended well; for eventually, which ends at once where it has failed.
pod_ended() {
  local phase
  phase=$(k get pod "$1" -o jsonpath='{.status.phase}') || return 1
  if [[ $phase == Failed ]]; then
    echo "the pod $1 failed"
    k logs "$1" --tail=5
    return "$HOPELESS"
  fi
  [[ $phase == Succeeded ]]
}

# begun POD: whether a load has had an answer, or has ended well already.
begun() { k logs "$1" | grep answered || pod_ended "$1"; }

# load_start NODE POD IMAGES ARGUMENT...: a pod on NODE sends packed IMAGES; it has begun when this returns.
load_start() {
  local node=$1 name=$2 images=$3
  shift 3
  # shellcheck disable=SC2153 # both are meant
  pod "$name" "$node" . load --url "http://$NAME-edge.$NS.svc/v2/models/$NAME" --progress "$@"
  k attach -i "$name" <"$WORK/$images" >/dev/null 2>&1 &
  # What a test does next may cut the connection that brings the images.
  eventually 300 "$name sends images" begun "$name" >&2
}

# load_end POD SECONDS: prints the summary, showing on the way how it goes.
load_end() {
  k logs --follow "$1" 2>/dev/null | grep -v '^{' | sed -u "s/^/       $1: /" >&2 &
  local follower=$!
  eventually "$2" "$1 has ended" pod_ended "$1" >&2
  wait "$follower" 2>/dev/null || true
  k logs "$1" | grep '^{' | tail -1
}

# load_stop POD: ends it early, and prints the summary all the same.
load_stop() {
  local follower
  k logs --follow "$1" >"$WORK/$1.log" 2>/dev/null &
  follower=$!
  k delete pod "$1" --wait >/dev/null
  wait "$follower" || true
  grep '^{' "$WORK/$1.log" | tail -1 || die "the load $1 said nothing in the end" "$(tail -3 "$WORK/$1.log")"
}

# dataset_put NAME IMAGES: packed IMAGES into the store, as datasets/NAME.
dataset_put() {
  local claim
  claim=$(deployment | jq -r .spec.store.persistentVolumeClaim.claimName)
  pod "put-dataset" "" ".spec.nodeSelector = {\"meanet.dev/tier\": \"cloud\"} | .spec.volumes = [{name: \"store\", persistentVolumeClaim: {claimName: \"$claim\"}}]
    | .spec.containers[0].volumeMounts = [{name: \"store\", mountPath: \"/store\"}]" data put "$1"
  k attach -i put-dataset <"$WORK/$2" >/dev/null 2>&1 &
  eventually 300 "the data set $1 is in the store" pod_ended put-dataset
}

# table SUMMARY: what a load saw, by exit.
table() {
  jq -r '["exit", "images", "share", "accuracy", "p50 ms", "p95 ms"], (.exits | to_entries[] |
    [.key, .value.images, (.value.share * 1000 | round / 1000), (.value.accuracy * 1000 | round / 1000),
     .value.latency_ms.p50, .value.latency_ms.p95]) | map(tostring) | join("\t")' <<<"$1" | expand -t 12
  jq -r '"all: \(.images) images, accuracy \(.accuracy * 1000 | round / 1000), \(.failures) failures, \(.degraded) degraded, \(.mixed_revisions) mixed"' <<<"$1"
}
