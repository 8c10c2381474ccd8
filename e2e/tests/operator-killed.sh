# shellcheck shell=bash
title "The operator is killed in the middle of a rollout"
number() { curl -sf "$API/meanetrevisions" | jq '[.items[].spec.number] | max'; }
round=0
for pause in 0 0.05 0.1; do
  round=$((round + 1))
  revisions=$(number)
  before=$(curl -sf "$API/meanetnodes" | jq -c '[.items[].status.revision]')
  operator=$(kubectl -n meanet-system get pods -l app.kubernetes.io/component=operator --field-selector status.phase=Running -o jsonpath='{.items[0].metadata.name}')
  patch_offload "2.5$round"
  # Not a wait: the moment of the rollout at which the kill comes.
  sleep "$pause"
  curl -sf -X DELETE "$PROXY/api/v1/namespaces/meanet-system/pods/$operator?gracePeriodSeconds=0" >/dev/null || die "$operator is not killed"
  # A kill that comes before or after the rollout shows here: 0 or all of the nodes were done.
  figure "operator_killed $(curl -sf "$API/meanetnodes" | jq -c --argjson before "$before" '{nodes: (.items | length), done: ([.items[].status.revision] - $before | length)}')"
  eventually 300 "the rollout ends as if nothing had happened" on_one_revision
  check "and made one revision" "$(number)" ". == $revisions + 1"
  kubectl -n meanet-system rollout status deployment/meanet-operator --timeout=300s >&2
done
