# shellcheck shell=bash
title "Answers through the Service, from a pod on each edge"
for node in "${EDGES[@]}"; do
  load_start "$node" "load-$node" some --requests 200
done
for node in "${EDGES[@]}"; do
  summary=$(load_end "load-$node" 600)
  check "$node answers 200 of 200" "$summary" '.failures == 0 and .requests == 200 and .mixed_revisions == 0 and (.exits | length) > 1'
  table "$summary"
done
