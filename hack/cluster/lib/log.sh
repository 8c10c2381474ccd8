# shellcheck shell=bash
# What the user sees. Progress goes to standard error, so that standard output holds only what was asked for.

# say TEXT...: one line of progress, with the seconds since the command began.
say() {
	printf '%4ds  %s\n' "$SECONDS" "$*" >&2
}

# die TEXT [REMEDY]: says what is wrong and what to do about it, and ends.
die() {
	printf '%s: %s\n' "${0##*/}" "$1" >&2
	shift
	local remedy
	for remedy in "$@"; do
		printf '  %s\n' "$remedy" >&2
	done
	exit 1
}

# await SECONDS WHAT COMMAND...: runs COMMAND, silenced, until it succeeds; dies saying WHAT was awaited when the time is up.
await() {
	local limit=$1 what=$2
	shift 2
	local deadline=$((SECONDS + limit))
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS >= deadline)); then
			die "gave up after ${limit} s waiting for ${what}" "${AWAIT_HINT:-"the last try was: $*"}"
		fi
		sleep 0.2
	done
}

# write_file FILE: standard input becomes FILE, in one step and only where it differs: those who watch the file see no half of it
# and no change that is none.
write_file() {
	cat >"$1.new"
	if cmp -s "$1" "$1.new"; then
		rm "$1.new"
	else
		mv "$1.new" "$1"
	fi
}
