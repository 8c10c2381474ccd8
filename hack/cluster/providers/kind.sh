# shellcheck shell=bash
# Provider `kind`: a control-plane node, a cloud node and two edge nodes as containers of docker or podman, made by kind. The
# node image is kind's own where it can be pulled, else one made here from Debian's packages and from source.

for part in engine image node-files network; do
	# shellcheck source=/dev/null
	source "$CLUSTER_HOME/providers/kind/$part.sh"
done

KIND_VOLUMES=/var/lib/meanet-volumes

kind_can_work() {
	kind_find_engine
}

kind_is_up() {
	[[ -f $STATE/complete ]] && kind_find_engine && kind_runs "$CLUSTER_NAME-control-plane"
}

# kind_runs NODE...: whether all run. Asked by a command in each: what the engine lists as running may have ended with a machine
# that was cut short.
kind_runs() {
	local node
	for node; do
		timeout 30 "$KIND_ENGINE" exec "$node" true >/dev/null 2>&1 9>&- || return 1
	done
}

kind_up() {
	kind_need_engine
	need_binaries kind kubectl
	local node nodes=("$(kind_cloud)" "$CLUSTER_NAME-worker2" "$CLUSTER_NAME-worker3")
	if ! kind_is_up || ! kind_runs "${nodes[@]}"; then
		kind_clear
		mkdir -p "$STATE"
		kind_configure_engine
		kind_create
	fi
	kind_configure_engine

	[[ $(<"$STATE/image") != "$KIND_OWN_IMAGE"* ]] || kind_connect_nodes
	kind_make_volumes
	await_nodes 300 "$CLUSTER_NAME-control-plane" "${nodes[@]}"
	say "nodes ready: ${nodes[*]}"
	has_gpu "$(kind_cloud)" || give_gpu "$(kind_cloud)"
	AWAIT_HINT="see: kubectl -n kube-system describe pods" \
		await 300 "CoreDNS" kube -n kube-system wait --for=condition=Available --timeout=5s deployment/coredns
	: >"$STATE/complete"
}

kind_cloud() { printf '%s-worker\n' "$CLUSTER_NAME"; }

# kind_create: the cluster as kind makes it.
kind_create() {
	local image
	image=$(kind_node_image)
	printf '%s\n' "$image" >"$STATE/image"
	kind_config "$image" >"$STATE/kind.yaml"
	say "creating nodes from $image"
	kind_run create cluster --name "$CLUSTER_NAME" --config "$STATE/kind.yaml" --kubeconfig "$KUBECONFIG_FILE" \
		>"$STATE/kind.log" 2>&1 || die "kind failed to create the cluster" "see $STATE/kind.log" "$(tail -3 "$STATE/kind.log")"
	say "kind is done"
}

# kind_config IMAGE
kind_config() {
	local tier
	cat <<EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: $CLUSTER_NAME
nodes:
  - role: control-plane
    image: $1
EOF
	for tier in cloud edge edge; do
		printf '  - role: worker\n    image: %s\n    labels: {meanet.dev/tier: %s}\n' "$1" "$tier"
	done
	# Kind's own network is an image from a registry: where the node image is made here, so is the network.
	[[ $1 != "$KIND_OWN_IMAGE"* ]] || printf 'networking: {disableDefaultCNI: true}\n'
	cat <<'EOF'
kubeadmConfigPatches:
  - |
    kind: KubeletConfiguration
    apiVersion: kubelet.config.k8s.io/v1beta1
    failCgroupV1: false
  - |
    kind: ClusterConfiguration
    apiVersion: kubeadm.k8s.io/v1beta3
    etcd:
      local:
        extraArgs:
          # What is stored is lost with the machine anyway, so nothing waits for the disk.
          unsafe-no-fsync: "true"
EOF
}

# kind_make_volumes: the pool of volumes, where the node image has no provisioner that makes them on demand.
kind_make_volumes() {
	if [[ $(kube get storageclass standard -o 'jsonpath={.provisioner}' 2>/dev/null) == rancher.io/local-path ]]; then
		return
	fi
	kind_make_volume_folders
	make_volumes "$(kind_cloud)" "$KIND_VOLUMES"
}

kind_make_volume_folders() {
	local volumes
	mapfile -t volumes < <(volume_names)
	# shellcheck disable=SC2016 # expanded in the node
	kind_in_node "$(kind_cloud)" sh -euc 'cd "$0" 2>/dev/null || { mkdir -p "$0" && cd "$0"; }
		for volume; do [ -d "$volume" ] || { mkdir "$volume" && chmod 0777 "$volume"; }; done' \
		"$KIND_VOLUMES" "${volumes[@]}"
}

kind_empty_volumes() {
	kind_in_node "$(kind_cloud)" rm -rf "${@/#/$KIND_VOLUMES/}"
	kind_make_volume_folders
}

kind_down() {
	# A cluster of ours has its state here; without one there is nothing to ask the engine about.
	[[ -d $STATE ]] || return 0
	kind_find_engine || die "neither docker nor podman answers, so the cluster's containers cannot be removed" "start the one it was made with"
	kind_clear
}

# kind_clear: removes the cluster, or what is left of one.
kind_clear() {
	[[ -d $STATE ]] || return 0
	kind_configure_engine
	if [[ -x $BIN/kind ]]; then
		say "removing provider kind's cluster"
		kind_run delete cluster --name "$CLUSTER_NAME" --kubeconfig "$KUBECONFIG_FILE" >"$CACHE/cluster/kind-delete.log" 2>&1 ||
			die "kind failed to delete the cluster" "see $CACHE/cluster/kind-delete.log"
	fi
	kind_remove_network
	rm -rf "$STATE"
}

kind_nodes() {
	printf '%s cloud\n' "$(kind_cloud)"
	printf '%s edge\n' "$CLUSTER_NAME-worker2" "$CLUSTER_NAME-worker3"
}

kind_load() {
	local archive
	for archive in "$@"; do
		kind_run load image-archive "$archive" --name "$CLUSTER_NAME" >/dev/null
	done
}

kind_exec() {
	local node=$1
	shift
	kind_find_engine
	"$KIND_ENGINE" exec --interactive "$node" "$@" 9>&-
}

# kind_in_node NODE COMMAND...: kind_exec for this script's own use, which leaves its input alone.
kind_in_node() {
	kind_exec "$@" </dev/null
}

kind_restart_kubelet() {
	local since
	since=$(kind_in_node "$1" date +%s)
	kind_in_node "$1" systemctl restart kubelet
	[[ $1 == "$(kind_cloud)" ]] || return 0
	# Registering, the kubelet may reset what it does not know.
	await 90 "the kubelet to register" kind_has_registered "$1" "$since"
	has_gpu "$1" || give_gpu "$1"
}

# kind_has_registered NODE SINCE
kind_has_registered() {
	kind_in_node "$1" journalctl --unit=kubelet --since="@$2" --no-pager |
		grep -E 'Node was previously registered|Successfully registered node'
}

kind_restart_apiserver() {
	# Its kubelet starts it again. Hard, or its old self might answer the wait below.
	kind_in_node "$CLUSTER_NAME-control-plane" pkill -KILL -x kube-apiserver
	await 120 "the API server" kube get --raw=/readyz
}
