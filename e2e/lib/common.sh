# shellcheck shell=bash
# What the tests and the demo share. They know a cluster by its KUBECONFIG only.

CACHE=${MEANET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/meanet}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
export PATH=$CACHE/bin:$PATH
# shellcheck disable=SC2034 # for the other parts
NS=street-cams
NAME=street-cams
WORK=$(mktemp -d)
BROUGHT_UP=
# Commands that put right what a test has upset, should it end early.
UNDO=()

# shellcheck source=hack/cluster/lib/log.sh
source hack/cluster/lib/log.sh
# shellcheck source=hack/cluster/lib/packages.sh
source hack/cluster/lib/packages.sh
for part in cluster load api; do
  # shellcheck source=/dev/null
  source "e2e/lib/$part.sh"
done

title() { printf '\n' >&2 && say "== $*"; }
figure() { printf 'FIGURE %s\n' "$*" | tee -a "$WORK/figures"; }

# check WORDS JSON FILTER: FILTER must hold.
check() {
  # Slurped: jq is content with a document that is not there.
  jq -es "length > 0 and all(.[]; $3)" >/dev/null <<<"$2" || die "$1: $3 does not hold in $2"
  say "ok: $1"
}

# What a command of eventually returns when waiting on is no use.
HOPELESS=75

# eventually SECONDS WORDS COMMAND...: the command must succeed in time.
eventually() {
  local end=$((SECONDS + $1)) words=$2 told=$SECONDS code
  shift 2
  while :; do
    "$@" >"$WORK/eventually" 2>&1 && break
    code=$?
    ((code != HOPELESS)) || die "$words: $(tail -5 "$WORK/eventually")"
    ((SECONDS < end)) || die "$words: not in time: $(tail -3 "$WORK/eventually")"
    if ((SECONDS - told >= 10)); then
      told=$SECONDS
      say "   waiting: $words"
    fi
    sleep 0.3
  done
  say "ok: $words"
}

finish() {
  local code=$? command pid
  trap - EXIT
  if ((code != 0)) && [[ -n ${KUBECONFIG:-} ]]; then
    title "What there was in the end"
    k get pods,jobs,meanetdeployments,meanetrevisions,meanetnodes -o wide >&2 || true
    kubectl -n meanet-system logs deployment/meanet-operator --tail=30 >&2 || true
    k get meanetdeployment "$NAME" -o jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}' >&2 || true
    for part in edge cloud; do
      k logs -l "meanet.dev/component=$part" --tail=10 --prefix >&2 || true
    done
  fi
  for command in "${UNDO[@]}"; do
    eval "$command" >&2 || true
  done
  for pid in $(jobs -p); do
    kill "$pid" 2>/dev/null || true
  done
  if [[ -n $BROUGHT_UP ]]; then
    hack/cluster/cluster down || true
  fi
  rm -rf "$WORK"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

need_packages curl=curl jq=jq
