# shellcheck shell=bash
# shellcheck disable=SC2016 # scripts for the shell inside a node are not expanded here
# The network between pods where kind's own, an image from a registry, is not to be had; and cutting a node off from it.

# kind_connect_nodes: tells each node's containerd how to connect pods, and each node the way to the others' pods. Routed, and
# masqueraded only where a packet leaves the cluster.
kind_connect_nodes() {
	local all node range other other_range other_address routes
	await 60 "the nodes' pod ranges" kind_has_ranges
	all=$(kind_ranges)
	while read -r node range _; do
		routes=
		while read -r other other_range other_address; do
			[[ $other == "$node" ]] || routes+="ip route replace $other_range via $other_address; "
		done <<<"$all"
		kind_in_node "$node" sh -euc "$routes"'
			iptables -w -t nat -C POSTROUTING -s "$0" ! -d "$1" -j MASQUERADE 2>/dev/null ||
				iptables -w -t nat -A POSTROUTING -s "$0" ! -d "$1" -j MASQUERADE
			mkdir -p /etc/cni/net.d
			printf "%s" "$2" >/etc/cni/net.d/.pods
			cmp -s /etc/cni/net.d/.pods /etc/cni/net.d/10-pods.conflist ||
				mv /etc/cni/net.d/.pods /etc/cni/net.d/10-pods.conflist
		' "$range" 10.244.0.0/16 "$(kind_network_plugin "$range")"
	done <<<"$all"
}

kind_network_plugin() {
	cat <<EOF
{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",
        "ranges": [[{"subnet": "$1"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
EOF
}

# kind_ranges: NAME POD-RANGE ADDRESS of each node, one a line.
kind_ranges() {
	kube get nodes -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}'
}

kind_has_ranges() {
	[[ $(kind_ranges | awk 'NF == 3' | wc -l) == 4 ]]
}

# A cut drops all that comes in and goes out by the node's device. The device stays up: taking it down would take the routes with
# it, and disconnecting the container would give it another address on return. Both families, because the node finds the control
# plane by name, and goes on by IPv6 where IPv4 is cut.
kind_cut() {
	kind_in_node "$1" sh -euc '
		for tool in iptables ip6tables; do
			$tool -w -t mangle -C PREROUTING -i eth0 -j DROP 2>/dev/null || $tool -w -t mangle -I PREROUTING -i eth0 -j DROP
			$tool -w -t mangle -C POSTROUTING -o eth0 -j DROP 2>/dev/null || $tool -w -t mangle -I POSTROUTING -o eth0 -j DROP
		done'
}

kind_restore() {
	kind_in_node "$1" sh -euc '
		for tool in iptables ip6tables; do
			while $tool -w -t mangle -D PREROUTING -i eth0 -j DROP 2>/dev/null; do :; done
			while $tool -w -t mangle -D POSTROUTING -o eth0 -j DROP 2>/dev/null; do :; done
		done'
}
