# shellcheck shell=bash
title "Retraining, under load"
# ask: asks for a run, and awaits the answer.
ask() {
  local request
  request=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  k annotate meanetdeployment "$NAME" "meanet.dev/retrain-requested-at=$request" --overwrite >&2
  answered() { deployment | jq -e --arg request "$request" '.status.retraining.request == $request and .status.retraining.phase != "Running"'; }
  eventually 600 "the retraining request is answered" answered
}
threshold 1.5 >/dev/null
load_start "${EDGES[0]}" load-samples some --requests 300 --clients 1
check "samples are collected" "$(load_end load-samples 180)" '.failures == 0 and .exits.cloud.images > 0'
pack site --training --limit 200
dataset_put site site
first=$(deployment | jq -r .status.currentRevision)

# Nothing learnt from so little gains as much as this gate wants.
k patch meanetdeployment "$NAME" --type merge -p '{"spec":{"retraining":{"dataset":{"path":"site"},"gate":{"minAccuracyGain":0.9},"job":{"epochs":1,"maxSamples":400}}}}' >&2
ask
check "a candidate that gains too little is rejected" "$(deployment | jq -c .status)" ".retraining.phase == \"Rejected\" and .currentRevision == \"$first\""

# The gate is open: what is tested is the way of a new revision, not how much was learnt.
k patch meanetdeployment "$NAME" --type merge -p '{"spec":{"retraining":{"gate":{"minAccuracyGain":-1}}}}' >&2
for node in "${EDGES[@]}"; do
  load_start "$node" "rollout-$node" some --seconds 75 --clients 1 --batch 2
done
ask
check "the next one is accepted" "$(deployment | jq -c .status.retraining)" '.phase == "Accepted" and .revision != null'
figure "retraining $(deployment | jq -c '.status.retraining.evaluation')"
retrained() { deployment | jq -e --arg first "$first" '.status.currentRevision == .status.retraining.revision and .status.currentRevision != $first and .status.nodes.synced == .status.nodes.selected'; }
eventually 120 "the retrained revision is live on all edges" retrained
for node in "${EDGES[@]}"; do
  check "no request on $node fails or mixes revisions while retraining and rolling out" "$(load_end "rollout-$node" 240)" \
    '.failures == 0 and .mixed_revisions == 0 and (.revisions | length) > 1'
done
