# shellcheck shell=bash
title "The cloud is gone"
# Every image scores above nothing but the surest: nearly all want to go to the cloud.
threshold 0.01 >/dev/null
cloud=$(k get pods -l meanet.dev/component=cloud -o json | jq -r '.items[0].spec.nodeName')
UNDO+=("kubectl uncordon $cloud")
kubectl cordon "$cloud" >&2
# Not by force: that would return before the container has ended, which answers until then.
k delete pods -l meanet.dev/component=cloud --grace-period=1 --timeout=300s >&2
no_cloud() { k get endpointslices -l "kubernetes.io/service-name=$NAME-cloud" -o json | jq -e 'all(.items[].endpoints[]?; .conditions.ready | not)'; }
eventually 300 "no cloud pod takes requests" no_cloud
for node in "${EDGES[@]}"; do
  load_start "$node" "alone-$node" some --requests 50 --clients 1
done
for node in "${EDGES[@]}"; do
  summary=$(load_end "alone-$node" 600)
  table "$summary"
  check "$node answers without the cloud, and says degraded" "$summary" \
    '.failures == 0 and .images == 50 and .degraded > 40 and (.exits | has("cloud") | not)'
  figure "degraded_latency_ms $(jq -c --arg node "$node" '.latency_ms + {$node}' <<<"$summary") cloudTimeout $(deployment | jq -r .spec.routing.cloudTimeout)"
done
kubectl uncordon "$cloud" >&2
eventually 300 "the cloud comes back" ready
