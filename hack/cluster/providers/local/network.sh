# shellcheck shell=bash
# shellcheck disable=SC2016 # scripts for the shell inside a node are not expanded here
# One bridge on the host; each node hangs on it by a pair of devices whose host side, when taken down, cuts the node off.

# local_index NODE: its place among the nodes, from 1.
local_index() {
	local index
	for index in "${!LOCAL_NODES[@]}"; do
		[[ ${LOCAL_NODES[index]} != "$1" ]] || printf '%s\n' $((index + 1))
	done
}

local_bridge() { printf '%s-br\n' "$CLUSTER_NAME"; }
local_link() { printf '%s-%s\n' "$CLUSTER_NAME" "$(local_index "$1")"; }
local_address() { printf '%s.0.%s\n' "$LOCAL_NET" $((10 + $(local_index "$1"))); }
# Pod ranges are fixed here and told to the node, so that routes stand before the node has registered.
local_pod_range() { printf '%s.%s.0/24\n' "$LOCAL_NET" $((128 + $(local_index "$1"))); }

local_make_bridge() {
	local bridge node
	bridge=$(local_bridge)
	if ! ip link show "$bridge" >/dev/null 2>&1; then
		if [[ $(ip route get "$LOCAL_HOST_ADDRESS" 2>/dev/null) == local* ]]; then
			die "the network $LOCAL_NET.0.0/16 is in use on this machine" "set MEANET_LOCAL_NET to another, such as 10.79, or end what uses it"
		fi
		ip link add "$bridge" type bridge
		ip address add "$LOCAL_HOST_ADDRESS/24" dev "$bridge"
		ip link set "$bridge" up
		for node in "${LOCAL_NODES[@]}"; do
			ip route add "$(local_pod_range "$node")" via "$(local_address "$node")"
		done
		# The host reaches Services too, through the cloud node.
		ip route add "$LOCAL_SERVICE_NET" via "$(local_address cloud)"
	fi
	# Where bridged packets pass the host's firewall, Docker's default of dropping what it does not know would part the nodes.
	if [[ $(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null) == 1 ]]; then
		iptables -w -C FORWARD -i "$bridge" -o "$bridge" -j ACCEPT 2>/dev/null ||
			iptables -w -I FORWARD -i "$bridge" -o "$bridge" -j ACCEPT
	fi
}

local_remove_bridge() {
	local bridge link
	bridge=$(local_bridge)
	while iptables -w -D FORWARD -i "$bridge" -o "$bridge" -j ACCEPT 2>/dev/null; do :; done
	for link in "$(local_bridge)" $(for node in "${LOCAL_NODES[@]}"; do local_link "$node"; done); do
		# The devices of a node go with its network, a moment after its last process: either may be first.
		ip link delete "$link" 2>/dev/null || true
	done
}

# local_connect NODE ANCHOR: the node's own network, inside the namespace of process ANCHOR.
local_connect() {
	local node=$1 anchor=$2 link other
	link=$(local_link "$node")
	# That of a node that crashed goes with its network, which the kernel does not hurry to take down.
	ip link delete "$link" 2>/dev/null || true
	ip link add "$link" type veth peer name eth0 netns "$anchor"
	ip link set "$link" master "$(local_bridge)"
	ip link set "$link" up
	nsenter --target "$anchor" --net bash -euc '
		ip link set lo up
		ip address add "$1/24" dev eth0
		ip link set eth0 up
		ip route add default via "$2"
		echo 1 >/proc/sys/net/ipv4/ip_forward
	' - "$(local_address "$node")" "$LOCAL_HOST_ADDRESS"
	for other in "${LOCAL_NODES[@]}"; do
		[[ $other == "$node" ]] ||
			nsenter --target "$anchor" --net ip route add "$(local_pod_range "$other")" via "$(local_address "$other")"
	done
}

# local_network_plugin NODE: how containerd is to connect the node's pods. Routed, not bridged: packets between two pods of one
# node must pass the host's stack, or Services between them would need bridge filtering in the kernel.
local_network_plugin() {
	cat <<EOF
{
  "cniVersion": "0.4.0",
  "name": "$CLUSTER_NAME",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",
        "ranges": [[{"subnet": "$(local_pod_range "$1")"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
EOF
}
