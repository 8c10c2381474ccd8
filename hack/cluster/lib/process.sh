# shellcheck shell=bash
# Long-running processes of a cluster, each known by a file that holds its PID and its start time. The time tells a process
# from a later one that was given the same PID, after a reboot for instance, which must never be signalled.

# start_time PID: when it began, in clock ticks since boot; fails when there is no such process.
start_time() {
	local line
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
	# The command, in brackets, may hold spaces: count the fields after it. The first of them is the state.
	local fields
	read -r -a fields <<<"${line##*) }"
	[[ ${fields[0]} != Z ]] || return 1
	printf '%s\n' "${fields[19]}"
}

# record_process FILE PID
record_process() {
	printf '%s %s\n' "$2" "$(start_time "$2")" >"$1"
}

# process_alive FILE
process_alive() {
	local pid began
	[[ -f $1 ]] && read -r pid began <"$1" && [[ $(start_time "$pid") == "$began" ]]
}

# process_pid FILE: its PID; fails when it is not running.
process_pid() {
	local pid
	process_alive "$1" && read -r pid _ <"$1" && printf '%s\n' "$pid"
}

# start_process FILE LOG COMMAND...: starts it detached from this shell and its terminal, with the last run's log kept as LOG.1.
start_process() {
	local file=$1 log=$2
	shift 2
	[[ ! -f $log ]] || mv "$log" "$log.1"
	# 9 is the lock on the cluster: a child that kept it open would hold it for ever.
	setsid "$@" </dev/null >"$log" 2>&1 9>&- &
	record_process "$file" "$!"
	disown
}

# stop_process FILE [SECONDS]: asks it to end, and ends it when it has not after SECONDS (5).
stop_process() {
	local pid deadline=$((SECONDS + ${2:-5}))
	if pid=$(process_pid "$1"); then
		kill -TERM "$pid" 2>/dev/null || true
		while process_alive "$1" && ((SECONDS < deadline)); do sleep 0.05; done
		if process_alive "$1"; then
			kill -KILL "$pid" 2>/dev/null || true
			while process_alive "$1"; do sleep 0.05; done
		fi
	fi
	rm -f "$1"
}
