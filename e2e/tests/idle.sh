# shellcheck shell=bash
title "Idle"
sleep 5
metrics() { kubectl get --raw /api/v1/namespaces/meanet-system/services/meanet-operator:http/proxy/metrics; }
# writes AWK: writing requests of the operator whose line matches; no such line at all is a failure of the test, not a 0.
writes() {
  metrics | awk "/^meanet_operator_api_requests_total/ { seen = 1 } /^meanet_operator_api_requests_total.*verb=\"(create|patch|update|delete)\"/ && $1 { sum += \$NF } END { if (!seen) exit 1; print sum + 0 }" ||
    die "the operator does not count its requests"
}
objects=$(writes '!/resource="leases"/')
leases=$(writes '/resource="leases"/')
cpu() {
  local node
  node=$(kubectl -n meanet-system get pods -l app.kubernetes.io/component=operator -o jsonpath='{.items[0].spec.nodeName}')
  kubectl get --raw "/api/v1/nodes/$node/proxy/stats/summary" | jq -c '[.pods[] | select(.podRef.namespace == "meanet-system")
    | {cpu_core_seconds: ((.cpu.usageCoreNanoSeconds // null) | if . then . / 1e9 else . end), memory_bytes: .memory.rssBytes}] | .[0]' || echo null
}
from=$(cpu)
sleep "${MEANET_IDLE_SECONDS:-60}"
objects=$(($(writes '!/resource="leases"/') - objects))
leases=$(($(writes '/resource="leases"/') - leases))
figure "idle $(jq -nc --argjson from "$from" --argjson to "$(cpu)" --argjson seconds "${MEANET_IDLE_SECONDS:-60}" --argjson objects "$objects" \
  --argjson leases "$leases" '{seconds: $seconds, writes: $objects, lease_renewals: $leases, from: $from, to: $to}')"
figure "operator $(metrics | awk '/^meanet_operator_api_requests_total/ && !/leases/ { r += $NF } /^meanet_operator_reconciles_total/ { n += $NF }
  END { printf "{\"reconciles\": %d, \"api_requests\": %d}", n, r }')"
