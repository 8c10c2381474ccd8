# shellcheck shell=bash
title "The API server and a kubelet restart, under load"
if ours; then
  for node in "${EDGES[@]}"; do
    load_start "$node" "restart-$node" some --seconds 40 --clients 1
  done
  hack/cluster/cluster restart-apiserver >&2
  hack/cluster/cluster restart-kubelet "${EDGES[0]}" >&2
  served() { curl -sf "$API/meanetnodes" >/dev/null; }
  eventually 300 "the API server answers" served
  figure "threshold_edit_after_restart_ms $(threshold 1.9)"
  eventually 300 "MEANetDeployment is Ready" ready
  for node in "${EDGES[@]}"; do
    check "$node did not notice" "$(load_end "restart-$node" 600)" '.failures == 0 and .mixed_revisions == 0'
  done
fi
