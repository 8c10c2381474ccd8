# shellcheck shell=bash
# What the operator takes while nothing happens, and what a reconcile costs. MEANET_IDLE_SECONDS says for how long it is watched.
seconds=${MEANET_IDLE_SECONDS:-60}
title "The operator while nothing happens, for $seconds seconds"
# sample: what /metrics says, as JSON: requests by verb and by kind, and the rest by name.
sample_metrics() {
  kubectl get --raw /api/v1/namespaces/meanet-system/services/meanet-operator:http/proxy/metrics | jq -Rnc --arg at "$(date +%s.%N)" '
    [inputs | select(startswith("#") | not) | capture("^(?<name>[a-z_]+)(\\{(?<labels>.*)\\})? (?<value>[-0-9.e+]+)$")
      | .value |= tonumber | .labels |= ([(. // "") | scan("([a-z]+)=\"([^\"]*)\"") | {(.[0]): .[1]}] | add // {})] as $all
    | def of(f): [$all[] | select(f).value] | add // 0;
      def requests(f): of(.name == "meanet_operator_api_requests_total" and f);
      def writes: .labels.verb | IN("create", "patch", "update", "delete");
    {at: ($at | tonumber),
     cpu: of(.name == "process_cpu_seconds_total"),
     memory: of(.name == "process_resident_memory_bytes"),
     reconciles: of(.name == "meanet_operator_reconciles_total"),
     requests: requests(.labels.resource != "leases"),
     watches: requests(.labels.verb | IN("watch", "list")),
     writes: requests(.labels.resource != "leases" and writes),
     renewals: requests(.labels.resource == "leases" and writes)}
    # No request at all is a failure of the measurement, not a 0.
    | if .requests == 0 or .memory == 0 then error("the operator does not count its requests or its memory") else . end'
}
eventually 300 "MEANetDeployment is Ready" ready
# Quiet: what a change before this set off has come to its end.
quiet() {
  local before
  before=$(sample_metrics | jq .writes)
  sleep 5
  [[ $(sample_metrics | jq .writes) == "$before" ]]
}
eventually 300 "the operator has nothing left to do" quiet
from=$(sample_metrics)
sleep "$seconds"
figure "idle $(jq -nc --argjson from "$from" --argjson to "$(sample_metrics)" '
  def passed(f): ($to | f) - ($from | f);
  {seconds: (passed(.at) | round), writes: passed(.writes), reconciles: passed(.reconciles),
   lease_renewals: passed(.renewals), watches_renewed: passed(.watches),
   cpu_millicores: (passed(.cpu) / passed(.at) * 100000 | round / 100),
   resident_megabytes: ($to.memory / 1e6 * 10 | round / 10)}')"
# Of its whole life: watches are no part of a reconcile.
figure "operator_since_start $(sample_metrics | jq -c '{reconciles, requests: (.requests - .watches), writes,
  requests_per_reconcile: ((.requests - .watches) / .reconciles * 1000 | round / 1000)}')"
