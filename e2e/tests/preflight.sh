# shellcheck shell=bash
title "Preflight says in words what is missing"
kubectl create namespace e2e-preflight >&2
UNDO+=("kubectl delete namespace e2e-preflight --ignore-not-found --wait=false")
deployment | jq '{apiVersion, kind, metadata: {name: .metadata.name, namespace: "e2e-preflight"}, spec}
  | .spec.edge.nodeSelector = {"e2e": "nobody"} | .spec.cloud.accelerator.resource = "example.com/npu"' | kubectl apply -f - >&2
told() { kubectl -n e2e-preflight get meanetdeployment "$NAME" -o json | jq -er '.status.conditions[] | select(.type == "PreflightPassed") | "\(.status) \(.reason): \(.message)"'; }
says() { [[ $(told) == *"$1"* ]]; }
eventually 300 "no edge node matches" says 'no node matches spec.edge.nodeSelector (e2e=nobody): label one'
eventually 300 "no node offers the resource" says 'take 1 example.com/npu'
eventually 300 "there is no claim" says 'there is no PersistentVolumeClaim'
say "   $(told)"
check "and nothing runs, for the import awaits the claim" "$(kubectl -n e2e-preflight get pods -o json)" 'all(.items[]; .status.phase == "Pending")'
UNDO+=("kubectl label node ${EDGES[0]} e2e-")
kubectl label node "${EDGES[0]}" e2e=nobody >&2
k get pvc "$NAME" -o json | jq '{apiVersion, kind, metadata: {name: .metadata.name, namespace: "e2e-preflight"}, spec: {accessModes: .spec.accessModes, resources: .spec.resources}}' | kubectl apply -f - >&2
kubectl -n e2e-preflight patch meanetdeployment "$NAME" --type merge -p '{"spec":{"cloud":{"accelerator":{"resource":"nvidia.com/gpu","count":1}}}}' >&2
eventually 300 "what was missing is there" says 'True Passed'
kubectl label node "${EDGES[0]}" e2e- >&2
eventually 300 "and is missed when it goes" says 'no node matches spec.edge.nodeSelector'
kubectl delete namespace e2e-preflight --timeout=300s >&2
