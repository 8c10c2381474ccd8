# shellcheck shell=bash
# The container engine that kind works with.

# kind_find_engine: sets KIND_ENGINE to docker where its daemon answers, else to podman; fails when there is neither. A docker
# client without a daemon, which makes kind itself choose docker, does not count.
kind_find_engine() {
	[[ -z ${KIND_ENGINE:-} ]] || return 0
	if command -v docker >/dev/null && timeout 10 docker version >/dev/null 2>&1; then
		KIND_ENGINE=docker
	elif command -v podman >/dev/null; then
		KIND_ENGINE=podman
	else
		return 1
	fi
	export KIND_EXPERIMENTAL_PROVIDER=$KIND_ENGINE
	[[ ! -f $STATE/containers.conf ]] || export CONTAINERS_CONF=$STATE/containers.conf
}

kind_need_engine() {
	if ! kind_find_engine; then
		can_install || die "provider kind needs docker with its daemon running, or podman" "install one of them"
		need_packages podman=podman
		kind_find_engine
	fi
	if [[ $KIND_ENGINE == podman && $EUID == 0 ]]; then
		# kind's nodes find each other by name, which podman's older network does not offer.
		need_packages netavark=/usr/lib/podman/netavark aardvark-dns=/usr/lib/podman/aardvark-dns
		kind_cgroup_v2 || need_packages runc=runc
	fi
}

kind_cgroup_v2() {
	[[ -f /sys/fs/cgroup/cgroup.controllers ]]
}

# kind_configure_engine: settings without which podman cannot run kind's nodes on every machine.
kind_configure_engine() {
	[[ $KIND_ENGINE == podman && $EUID == 0 ]] || return 0
	mkdir -p "$STATE"
	# crun refuses the hybrid of cgroup v1 and v2; podman's default limits are above what some machines allow.
	cat >"$STATE/containers.conf" <<EOF
[containers]
default_ulimits = []
[network]
network_backend = "netavark"
[engine]
$(kind_cgroup_v2 || echo 'runtime = "runc"')
EOF
	export CONTAINERS_CONF=$STATE/containers.conf
	# kind mounts it into its nodes, present or not.
	mkdir -p /lib/modules
}

# kind_run ARGUMENT...: kind itself. 9 is the lock on the cluster, which the processes that hold containers would keep for ever.
kind_run() {
	kind_find_engine
	"$BIN/kind" "$@" 9>&-
}

# kind_remove_network: what kind leaves when its last cluster is gone. Another cluster's containers keep the network in use.
kind_remove_network() {
	"$KIND_ENGINE" network rm kind >/dev/null 2>&1 || true
	[[ $KIND_ENGINE == podman && $EUID == 0 && -z $("$KIND_ENGINE" ps --quiet) ]] || return 0
	kind_remove_chains
	# And its control groups, of which only empty ones can be removed like this.
	local groups
	mapfile -t groups < <(find /sys/fs/cgroup -maxdepth 2 -name libpod_parent)
	((${#groups[@]} == 0)) || find "${groups[@]}" -depth -type d -exec rmdir {} \; 2>/dev/null || true
}

# kind_remove_chains: podman keeps its chains in the firewall after its last container; they are empty by then, but not gone.
kind_remove_chains() {
	local tool table rule action
	for tool in iptables ip6tables; do
		command -v "$tool" >/dev/null || continue
		for table in nat filter; do
			# Rules that lead into a chain first, then what it holds, then the chain itself.
			while read -r rule; do
				# Unlike the shell, xargs heeds the quotes inside.
				xargs "$tool" -w -t "$table" <<<"$rule" || true
			done < <("$tool" -w -t "$table" -S 2>/dev/null | sed -n 's/^-A \(.*-j NETAVARK.*\)/-D \1/p')
			for action in F X; do
				"$tool" -w -t "$table" -S 2>/dev/null | sed -n "s/^-N \(NETAVARK.*\)/-$action \1/p" |
					xargs -r -n 2 "$tool" -w -t "$table" || true
			done
		done
	done
}
