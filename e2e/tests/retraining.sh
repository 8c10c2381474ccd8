# shellcheck shell=bash
title "Retraining, under load"
threshold 1.5 >/dev/null
load_start "${EDGES[0]}" load-samples some --requests 300 --clients 1
check "samples are collected" "$(load_end load-samples 600)" '.failures == 0 and .exits.cloud.images > 0'
pack site --training --limit 200
dataset_put site site
first=$(deployment | jq -r .status.currentRevision)

# Nothing learnt from so little gains as much as this gate wants.
k patch meanetdeployment "$NAME" --type merge -p '{"spec":{"retraining":{"dataset":{"path":"site"},"gate":{"minAccuracyGain":0.9},"job":{"epochs":1,"maxSamples":400}}}}' >&2
retrain
check "a candidate that gains too little is rejected" "$(deployment | jq -c .status)" ".retraining.phase == \"Rejected\" and .currentRevision == \"$first\""

# The gate is open: what is tested is the way of a new revision, not how much was learnt.
k patch meanetdeployment "$NAME" --type merge -p '{"spec":{"retraining":{"gate":{"minAccuracyGain":-1}}}}' >&2
for node in "${EDGES[@]}"; do
  load_start "$node" "rollout-$node" some --seconds 3600 --clients 1 --batch 2
done
retrain
check "the next one is accepted" "$(deployment | jq -c .status.retraining)" '.phase == "Accepted" and .revision != null'
figure "retraining $(deployment | jq -c '.status.retraining.evaluation')"
retrained() { deployment | jq -e --arg first "$first" '.status.currentRevision == .status.retraining.revision and .status.currentRevision != $first and .status.nodes.synced == .status.nodes.selected'; }
eventually 300 "the retrained revision is live on all edges" retrained
for node in "${EDGES[@]}"; do
  check "no request on $node fails or mixes revisions while retraining and rolling out" "$(load_stop "rollout-$node")" \
    '.failures == 0 and .mixed_revisions == 0 and (.revisions | length) > 1'
done
