# shellcheck shell=bash
# shellcheck disable=SC2016 # scripts for the shell inside a node are not expanded here
# One node: the anchor that holds its namespaces, and the processes inside.
#
# A node has its own /var/lib, /var/log and /run, so that what pods keep on their node by hostPath is not shared with the other
# nodes, and its own /proc; the rest of the file system is the host's.

# local_in_node NODE COMMAND...: runs it in all namespaces of the node.
local_in_node() {
	local anchor node=$1
	shift
	anchor=$(process_pid "$STATE/run/$node") || die "node $node does not run" "hack/cluster/cluster up starts it"
	nsenter --target "$anchor" --mount --net --uts --ipc --pid -- "$@"
}

local_start_node() {
	local node=$1 folder=$STATE/nodes/$1
	mkdir -p "$folder"
	if ! process_alive "$STATE/run/$node"; then
		local_start_anchor "$node"
		local_connect "$node" "$(process_pid "$STATE/run/$node")"
		local_make_cgroup "$node"
	fi
	local_write_node_config "$node"
	local_start_in_node "$node" containerd containerd --config "$folder/containerd.toml" --log-level warn
	AWAIT_HINT="see $STATE/logs/$node-containerd.log" await 90 "containerd in $node" local_in_node "$node" ctr version
	local_import "$node" "$(pause_image)"
	local_start_kubelet "$node"
	local_start_in_node "$node" kube-proxy "$BIN/kube-proxy" --config "$folder/kube-proxy.yaml"
	[[ $node != cloud ]] || local_import "$node" "$(coredns_image)"
}

# local_start_anchor NODE
local_start_anchor() {
	local node=$1 folder=$STATE/nodes/$1
	mkdir -p "$folder/var/lib" "$folder/var/log"
	rm -f "$folder/anchor"
	# Mounts of the host go on appearing in the node, or one that the host takes away would be held busy here; none of the node's
	# appears on the host. The three folders are mounted before everything becomes shared, which kubelet and containerd need:
	# after it, whatever is mounted below /var/lib would show up a second time where that folder really lies.
	setsid unshare --mount --net --uts --ipc --pid --fork --propagation slave bash -euc '
		read -r pid _ </proc/self/stat
		mount --bind "$2/var/lib" /var/lib
		mount --bind "$2/var/log" /var/log
		mount -t tmpfs -o mode=0755 tmpfs /run
		mkdir -p /run/lock /run/netns
		mount -t proc -o nosuid,nodev,noexec proc /proc
		mount --make-rshared /
		hostname "$1"
		echo "$pid" >"$2/anchor"
		exec "$3"
	' - "$node" "$folder" "$BIN/pause" </dev/null >"$STATE/logs/$node.log" 2>&1 9>&- &
	AWAIT_HINT="see $STATE/logs/$node.log" await 60 "the namespaces of $node" test -s "$folder/anchor"
	record_process "$STATE/run/$node" "$(<"$folder/anchor")"
}

# local_stop_node NODE: with its anchor, the first process of its PID namespace, the kernel ends all others in it.
local_stop_node() {
	stop_process "$STATE/run/$1" 10
}

# local_start_in_node NODE NAME COMMAND...: starts a process that lasts, unless it runs.
local_start_in_node() {
	local node=$1 name=$2 log=$STATE/logs/$1-$2.log
	shift 2
	! local_runs_in_node "$node" "$name" || return 0
	[[ ! -f $log ]] || mv "$log" "$log.1"
	# The PID file is in the node's own /run and holds its own numbering.
	local_in_node "$node" setsid bash -c 'echo $$ >"/run/$0.pid"; exec "$@"' "$name" "$@" </dev/null >"$log" 2>&1 9>&- &
	disown
	AWAIT_HINT="see $log" await 60 "$name in $node to start" local_runs_in_node "$node" "$name"
}

# local_runs_in_node NODE NAME
local_runs_in_node() {
	local_in_node "$1" bash -c 'pid=$(cat "/run/$0.pid") && [[ $(cat "/proc/$pid/comm") == "$0"* ]]' "$2" 2>/dev/null
}

# local_stop_in_node NODE NAME
local_stop_in_node() {
	local_in_node "$1" bash -c '
		pid=$(cat "/run/$0.pid" 2>/dev/null) || exit 0
		kill -TERM "$pid" 2>/dev/null || exit 0
		for ((try = 0; try < 100; try++)); do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.05; done
		kill -KILL "$pid"
	' "$2"
}

# local_import NODE ARCHIVE
local_import() {
	# By standard input: the archive may lie where the node has a folder of its own.
	local_in_node "$1" ctr --namespace k8s.io images import - <"$2" >/dev/null
}

local_start_kubelet() {
	local node=$1
	local_start_in_node "$node" kubelet "$BIN/kubelet" --config "$STATE/nodes/$node/kubelet.yaml" \
		--kubeconfig "$STATE/certificates/kubelet-$node.kubeconfig" \
		--hostname-override "$node" --node-ip "$(local_address "$node")" --node-labels "meanet.dev/tier=${node%%-*}"
}

local_write_node_config() {
	local node=$1 folder=$STATE/nodes/$1
	mkdir -p "$folder/cni"
	local_network_plugin "$node" | write_file "$folder/cni.conflist"
	[[ $folder/cni/10-pods.conflist -ef $folder/cni.conflist ]] || ln -sfn ../cni.conflist "$folder/cni/10-pods.conflist"
	# For pods that ask for the node's own name server: there is none.
	[[ -e $folder/resolv.conf ]] || : >"$folder/resolv.conf"
	write_file "$folder/containerd.toml" <<EOF
version = 2
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  disable_apparmor = true
  # Without the right to lower it, which a machine may lack, every container would fail to start.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$LOCAL_CNI_PLUGINS"
    conf_dir = "$folder/cni"
EOF
	write_file "$folder/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  x509: {clientCAFile: $STATE/certificates/authority.crt}
  webhook: {enabled: true}
  anonymous: {enabled: false}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$CLUSTER_NAME/$node
failCgroupV1: false
failSwapOn: false
clusterDomain: $CLUSTER_DOMAIN
clusterDNS: [$LOCAL_DNS_ADDRESS]
resolvConf: $folder/resolv.conf
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
serializeImagePulls: false
# Images are loaded, not pulled: what is collected cannot come back. The disk is the machine's, and a full one is its owner's to
# see to.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
kubeAPIQPS: 100
kubeAPIBurst: 200
shutdownGracePeriod: 0s
EOF
	write_file "$folder/kube-proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $STATE/certificates/proxy.kubeconfig}
hostnameOverride: $node
mode: iptables
clusterCIDR: $LOCAL_POD_NET
# These belong to the machine, not to a node.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
metricsBindAddress: 127.0.0.1:10249
EOF
}
