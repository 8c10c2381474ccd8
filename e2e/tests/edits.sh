# shellcheck shell=bash
title "20 threshold edits, under load on every edge"
for node in "${EDGES[@]}"; do
  load_start "$node" "edits-$node" some --seconds 45 --batch 2
done
for step in $(seq 1 20); do
  threshold "$(awk "BEGIN { print 2 + $step / 100 }")" | jq '[.[]] | max' >>"$WORK/edits"
done
# A machine with other work makes everything slower: its load belongs to the figure.
figure "threshold_edit_ms $(percentiles <"$WORK/edits" | jq -c --argjson load "$(cut -d' ' -f1 /proc/loadavg)" '. + {machine_load: $load}')"
for node in "${EDGES[@]}"; do
  check "no request on $node fails or mixes revisions while thresholds are edited" "$(load_end "edits-$node" 600)" \
    '.failures == 0 and .mixed_revisions == 0 and (.revisions | length) > 1'
done
