# shellcheck shell=bash
# Images, and pods that send them through the Service of the edge as an application on the node would.

# Where images come from.
source_of_images() {
  local data
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
  k wait "pod/$name" --for=condition=Ready --timeout=60s >/dev/null
}

# load_start NODE POD IMAGES ARGUMENT...: a pod on NODE sends packed IMAGES; it has begun when this returns.
load_start() {
  local node=$1 name=$2 images=$3
  shift 3
  # shellcheck disable=SC2153 # both are meant
  pod "$name" "$node" . load --url "http://$NAME-edge.$NS.svc/v2/models/$NAME" --progress "$@"
  k attach -i "$name" <"$WORK/$images" >/dev/null 2>&1 &
  # What a test does next may cut the connection that brings the images.
  has_begun() { k logs "$name" | grep -q answered; }
  eventually 60 "$name sends images" has_begun >&2
}

# load_end POD SECONDS: prints the summary, showing on the way how it goes.
load_end() {
  k logs --follow "$1" 2>/dev/null | grep -v '^{' | sed -u "s/^/       $1: /" >&2 &
  local follower=$!
  k wait "pod/$1" --for=jsonpath='{.status.phase}'=Succeeded --timeout="$2s" >/dev/null || {
    k logs "$1" --tail=20 >&2
    die "the load $1 did not end well"
  }
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
  k wait pod/put-dataset --for=jsonpath='{.status.phase}'=Succeeded --timeout=120s >/dev/null ||
    die "the data set $1 was not put" "$(k logs put-dataset --tail=5)"
}

# table SUMMARY: what a load saw, by exit.
table() {
  jq -r '["exit", "images", "share", "accuracy", "p50 ms", "p95 ms"], (.exits | to_entries[] |
    [.key, .value.images, (.value.share * 1000 | round / 1000), (.value.accuracy * 1000 | round / 1000),
     .value.latency_ms.p50, .value.latency_ms.p95]) | map(tostring) | join("\t")' <<<"$1" | expand -t 12
  jq -r '"all: \(.images) images, accuracy \(.accuracy * 1000 | round / 1000), \(.failures) failures, \(.degraded) degraded, \(.mixed_revisions) mixed"' <<<"$1"
}
