# shellcheck shell=bash
# Provider `local`: three nodes on this machine without a container engine. A node is an anchor process in namespaces of its own
# (network, mounts, PIDs, host name) with its own containerd, kubelet and kube-proxy inside; the control plane runs beside them on
# the host. Ending an anchor ends all that runs in its node and frees its mounts and its network.

for part in network certificates control-plane node cgroups; do
	# shellcheck source=/dev/null
	source "$CLUSTER_HOME/providers/local/$part.sh"
done

# The parts in the folder beside this file read these.
# shellcheck disable=SC2034
{
	# The first two numbers of every address.
	LOCAL_NET=${MEANET_LOCAL_NET:-10.77}
	LOCAL_NODES=(cloud edge-1 edge-2)
	LOCAL_HOST_ADDRESS=$LOCAL_NET.0.1
	LOCAL_POD_NET=$LOCAL_NET.128.0/17
	LOCAL_SERVICE_NET=$LOCAL_NET.16.0/20
	LOCAL_API_SERVICE=$LOCAL_NET.16.1
	LOCAL_DNS_ADDRESS=$LOCAL_NET.16.10
	# The control plane's own ports are on a loopback address that nothing else uses: etcd asks nobody for a password.
	LOCAL_LOOPBACK=127.${LOCAL_NET#*.}.0.1
	LOCAL_VOLUMES=/var/lib/meanet-volumes
	LOCAL_CNI_PLUGINS=/usr/lib/cni # Debian's
	for folder in /opt/cni/bin /usr/libexec/cni; do
		[[ -x $LOCAL_CNI_PLUGINS/ptp || ! -x $folder/ptp ]] || LOCAL_CNI_PLUGINS=$folder
	done
}

local_can_work() {
	[[ $(uname -s) == Linux && $EUID == 0 ]] || return 1
	can_install || {
		have_program containerd && have_program runc && have_program iptables && have_program "$LOCAL_CNI_PLUGINS/ptp"
	}
}

local_is_up() {
	[[ -f $STATE/complete && $(<"$STATE/complete") == "$(local_boot)" ]]
}

# local_boot: which boot of the machine this is; no process or mount outlives it.
local_boot() {
	cat /proc/sys/kernel/random/boot_id
}

local_up() {
	[[ $(uname -s) == Linux && $EUID == 0 ]] || die "provider local needs root on Linux" "use sudo, or --provider kind"
	local taken
	for taken in /var/lib /var/log /run; do
		[[ $(readlink -m "$CACHE") != "$taken"/* ]] ||
			die "the cache $CACHE is below $taken, which every node has of its own" "set MEANET_CACHE to another folder"
	done
	need_packages containerd=containerd runc=runc containernetworking-plugins="$LOCAL_CNI_PLUGINS/ptp" iptables=iptables \
		iproute2=ip conntrack=conntrack openssl=openssl util-linux=nsenter mount=mount python3=python3
	need_binaries etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns pause
	local_is_up || local_clear

	local node
	mkdir -p "$STATE"
	local_make_certificates
	local_make_bridge
	local_start_control_plane
	# Everything of a node is its own, so the nodes start together.
	for node in "${LOCAL_NODES[@]}"; do local_start_node "$node" & done
	local_join
	say "nodes started"
	apply coredns.yaml COREDNS_IMAGE="$COREDNS_IMAGE" CLUSTER_DOMAIN="$CLUSTER_DOMAIN" DNS_ADDRESS="$LOCAL_DNS_ADDRESS"
	local_make_volume_folders
	make_volumes cloud "$LOCAL_VOLUMES"
	await_nodes 180 "${LOCAL_NODES[@]}"
	say "nodes ready: ${LOCAL_NODES[*]}"
	has_gpu cloud || give_gpu cloud
	AWAIT_HINT="see $STATE/logs" \
		await 180 "CoreDNS" kube -n kube-system wait --for=condition=Available --timeout=5s deployment/coredns
	local_boot >"$STATE/complete"
}

# local_join: waits for every job in the background; fails when one has.
local_join() {
	local job failed=0
	for job in $(jobs -p); do
		wait "$job" || failed=1
	done
	((failed == 0)) || die "the cluster is not complete" "see $STATE/logs, then try again"
}

local_down() {
	[[ -d $STATE ]] || return 0
	[[ $EUID == 0 ]] || die "removing a cluster of provider local needs root" "use sudo"
	local_clear
}

# local_clear: removes the cluster, or what is left of one, in whatever state it is.
local_clear() {
	[[ -d $STATE ]] || return 0
	say "removing provider local's cluster"
	local node
	rm -f "$STATE/complete"
	for node in "${LOCAL_NODES[@]}"; do local_stop_node "$node" & done
	wait
	local_stop_control_plane
	local_remove_bridge
	for node in "${LOCAL_NODES[@]}"; do local_remove_cgroups "$CLUSTER_NAME/$node"; done
	local_remove_cgroups "$CLUSTER_NAME"
	if grep -q " $STATE/" /proc/self/mountinfo; then
		die "something is still mounted below $STATE" "unmount it and try again: findmnt | grep $STATE"
	fi
	rm -rf "$STATE"
}

local_nodes() {
	local node
	for node in "${LOCAL_NODES[@]}"; do printf '%s %s\n' "$node" "${node%%-*}"; done
}

local_load() {
	local node archive
	for node in "${LOCAL_NODES[@]}"; do
		for archive in "$@"; do local_import "$node" "$archive"; done &
	done
	local_join
}

local_exec() {
	local node=$1
	shift
	local_in_node "$node" "$@"
}

local_cut() {
	ip link set "$(local_link "$1")" down
}

local_restore() {
	ip link set "$(local_link "$1")" up
}

local_restart_kubelet() {
	local_stop_in_node "$1" kubelet
	local_start_kubelet "$1"
	[[ $1 != cloud ]] || local_keep_gpu
}

# local_keep_gpu: gives the GPU back after the kubelet has registered its node, which may reset what it does not know.
local_keep_gpu() {
	await 90 "the kubelet to register" grep -qE 'Node was previously registered|Successfully registered node' \
		"$STATE/logs/cloud-kubelet.log"
	has_gpu cloud || give_gpu cloud
}

local_restart_apiserver() {
	stop_process "$STATE/run/kube-apiserver" 3
	local_start_apiserver
	await 120 "the API server" kube get --raw=/readyz
}

local_empty_volumes() {
	local volume
	for volume in "$@"; do rm -rf "$STATE/nodes/cloud${LOCAL_VOLUMES:?}/$volume"; done
	local_make_volume_folders
}

local_make_volume_folders() {
	local volume folder=$STATE/nodes/cloud$LOCAL_VOLUMES
	mkdir -p "$folder"
	for volume in $(volume_names); do
		# Open to all: pods that are not root write here, each under a user of its own.
		[[ -d $folder/$volume ]] || { mkdir "$folder/$volume" && chmod 0777 "$folder/$volume"; }
	done
}
