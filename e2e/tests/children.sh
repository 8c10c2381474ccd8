# shellcheck shell=bash
title "What was made is made again where it is deleted"
children() { k get daemonsets,deployments,services,serviceaccounts,roles,rolebindings -l "app.kubernetes.io/managed-by=meanet-operator" -o name | sort; }
children >"$WORK/children"
(($(wc -l <"$WORK/children") >= 8)) || die "these are all the children: $(cat "$WORK/children")"
before=$(k get -o json meanetnodes,daemonsets,deployments,services,serviceaccounts,roles,rolebindings | jq '[.items[].metadata.uid]')
xargs kubectl -n "$NS" delete --wait <"$WORK/children" >&2
k delete meanetnode "$(twins | jq -r '.items[0].metadata.name')" >&2
made_again() { diff <(children) "$WORK/children"; }
eventually 300 "all are there again" made_again
eventually 300 "every node lives by the current revision" on_one_revision
eventually 300 "MEANetDeployment is Ready" ready
check "and are new" "$(k get daemonsets,deployments,services -l "app.kubernetes.io/managed-by=meanet-operator" -o json)" "all(.items[].metadata.uid; . as \$uid | $before | index(\$uid) | not)"
load_start "${EDGES[0]}" load-after some --requests 50
check "and answer" "$(load_end load-after 600)" '.failures == 0'
