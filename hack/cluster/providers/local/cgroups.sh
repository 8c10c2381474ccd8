# shellcheck shell=bash
# A node's control groups: NAME/NODE below every hierarchy, made here and removed here. Others' groups are left alone.

# local_hierarchies: where each hierarchy is mounted: one for each controller on cgroup v1, a single one on v2, both on a hybrid.
local_hierarchies() {
	awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/self/mounts | sort -u
}

# local_make_cgroup NODE
local_make_cgroup() {
	local hierarchy group part
	while read -r hierarchy; do
		group=$hierarchy
		for part in "$CLUSTER_NAME" "$1"; do
			local_pass_controllers "$group"
			mkdir -p "$group/$part"
			# On v1 a new cpuset has neither processors nor memory, and nothing can run in it.
			if [[ -f $group/cpuset.cpus && ! -f $group/cgroup.controllers ]]; then
				cat "$group/cpuset.cpus" >"$group/$part/cpuset.cpus"
				cat "$group/cpuset.mems" >"$group/$part/cpuset.mems"
			fi
			group=$group/$part
		done
		local_pass_controllers "$group"
	done < <(local_hierarchies)
}

# local_pass_controllers GROUP: on v2, lets the groups below it use every controller that it may use itself.
local_pass_controllers() {
	local controller
	[[ -f $1/cgroup.subtree_control ]] || return 0
	for controller in $(<"$1/cgroup.controllers"); do
		# One that the kernel refuses here, such as cpu with real-time processes, is not needed everywhere; the kubelet says so
		# by name when it misses one.
		echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null || true
	done
}

# local_remove_cgroups GROUP: removes it from every hierarchy with all below it, ending what still runs in there.
local_remove_cgroups() {
	local hierarchy group pid tries
	while read -r hierarchy; do
		[[ -d $hierarchy/$1 ]] || continue
		for tries in {1..50}; do
			while read -r group; do
				while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$group/cgroup.procs"
				rmdir "$group" 2>/dev/null || true
			done < <(find "$hierarchy/$1" -depth -type d 2>/dev/null)
			[[ -d $hierarchy/$1 ]] || break
			((tries < 50)) || die "the control group $hierarchy/$1 cannot be removed" "see what is in its cgroup.procs"
			sleep 0.1
		done
	done < <(local_hierarchies)
}
