# shellcheck shell=bash
title "Bad inputs"
pod=$(k get pods -l meanet.dev/component=edge -o json | jq -r --arg node "${EDGES[0]}" '.items[] | select(.spec.nodeName == $node) | .metadata.name')
[[ -n $pod ]] || die "no edge pod on ${EDGES[0]}"
restarts() { k get pod "$pod" -o json | jq '[.status.containerStatuses[].restartCount] | add'; }
before=$(restarts)
k port-forward "pod/$pod" :8080 >"$WORK/forward" 2>&1 &
eventually 300 "port of the edge" grep -q '^Forwarding from 127' "$WORK/forward"
edge=http://$(sed -n 's/^Forwarding from \(127[^ ]*\).*/\1/p' "$WORK/forward" | head -1)
infer=$edge/v2/models/$NAME/infer
bad() {
  local words=$1 want=$2 code
  shift 2
  code=$(curl -s -m 60 -o "$WORK/answer" -w '%{http_code}' "$@") || code="$code (curl $?)"
  [[ $code =~ ^($want)$ ]] || die "$words: $code instead of $want: $(head -c 300 "$WORK/answer")"
  jq -e '.error | length > 0' <"$WORK/answer" >/dev/null || die "$words: no message: $(head -c 300 "$WORK/answer")"
  say "   $words: $code $(jq -r .error <"$WORK/answer" | head -c 150)" >&2
}
JSON=(-H 'content-type: application/json')
tensor() { jq -nc --argjson shape "$1" --arg type "$2" --argjson data "$3" '{inputs: [{name: "image", shape: $shape, datatype: $type, data: $data}]}'; }
bad "wrong shape" 400 "${JSON[@]}" -d "$(tensor '[1,3,8,8]' UINT8 '[1,2,3]')" "$infer"
bad "wrong type" 400 "${JSON[@]}" -d "$(tensor '[1]' INT64 '[7]')" "$infer"
bad "text for numbers" 400 "${JSON[@]}" -d "$(tensor '[1,3,1,1]' FP32 '["a","b","c"]')" "$infer"
bad "out of range" 400 "${JSON[@]}" -d "$(jq -nc '{inputs: [{name: "image", shape: [1,3,32,32], datatype: "FP32", data: [range(3072) | 1e30]}]}')" "$infer"
bad "NaN" 400 "${JSON[@]}" -d '{"inputs":[{"name":"image","shape":[1,3,32,32],"datatype":"FP32","data":[NaN]}]}' "$infer"
bad "invalid JSON" 400 "${JSON[@]}" -d '{"inputs": [' "$infer"
bad "truncated PNG" 400 -H 'content-type: image/png' --data-binary @<(printf '\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20') "$infer"
bad "unknown content type" 415 -H 'content-type: text/plain' -d x "$infer"
bad "unknown model" 404 "${JSON[@]}" -d '{}' "$edge/v2/models/nobody/infer"
truncate -s 100M "$WORK/large"
bad "100 MB" 413 "${JSON[@]}" -H 'expect: 100-continue' --data-binary @"$WORK/large" "$infer"
check "the edge did not restart" "$(restarts)" ". == $before"
