# shellcheck shell=bash
title "Malformed resources are refused with a message that names the field"
count=0
for file in crds/tests/malformed/*.yaml; do
  # What is malformed only as a change of something stored is tested against an API server of its own.
  grep -q '^---' "$file" && continue
  expected=$(sed -n 's/^# expect: //p' "$file")
  if kubectl -n "$NS" create --dry-run=server -f "$file" >"$WORK/refusal" 2>&1; then
    die "$file was accepted"
  fi
  grep -qF "$expected" "$WORK/refusal" || die "$file: the message does not name $expected" "$(cat "$WORK/refusal")"
  count=$((count + 1))
done
((count > 40)) || die "only $count malformed resources were found"
say "ok: $count malformed resources are refused"
