# shellcheck shell=bash
# What every provider does through the API, once its API server answers.

# shellcheck disable=SC2034 # read by providers
CLUSTER_DOMAIN=cluster.local

# kube ARGUMENT...: kubectl on this cluster.
kube() {
	"$BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" --cache-dir "$STATE/discovery" "$@"
}

# apply MANIFEST [KEY=VALUE...]: applies manifests/MANIFEST with each @KEY@ replaced.
apply() {
	local manifest=$CLUSTER_HOME/manifests/$1 pair script=()
	shift
	for pair in "$@"; do
		script+=(-e "s|@${pair%%=*}@|${pair#*=}|g")
	done
	sed "${script[@]}" -e '' "$manifest" | kube apply --server-side --force-conflicts -f - >/dev/null
}

# await_nodes SECONDS NODE...: until each is Ready.
await_nodes() {
	local limit=$1
	shift
	await "$limit" "the nodes $* to be Ready" kube wait --for=condition=Ready --timeout=5s "${@/#/node/}"
}

# give_gpu NODE: one GPU, so far as the scheduler can tell. Nothing is behind it: pods that ask for one land here, and no other
# does.
give_gpu() {
	local gpu='{"nvidia.com/gpu":"1"}'
	kube patch node "$1" --subresource=status --type=merge -p "{\"status\":{\"capacity\":$gpu,\"allocatable\":$gpu}}" >/dev/null
}

has_gpu() {
	[[ $(kube get node "$1" -o 'jsonpath={.status.allocatable.nvidia\.com/gpu}') == 1 ]]
}

# volume_names: the pool's volumes.
volume_names() {
	seq -f 'volume-%02g' 1 32
}

# make_volumes NODE FOLDER: the default StorageClass and its pool: volumes on NODE, each a folder of FOLDER there. A volume whose
# claim is gone would stay Released for ever, so it is emptied by the provider and made anew.
make_volumes() {
	local node=$1 folder=$2 volume phase released=()
	apply storage-class.yaml
	while read -r volume phase; do
		[[ $phase == Released || $phase == Failed ]] && released+=("$volume")
	done < <(kube get persistentvolumes -l meanet.dev/volume-pool=cluster --no-headers \
		-o custom-columns=NAME:.metadata.name,PHASE:.status.phase)
	if ((${#released[@]})); then
		kube delete persistentvolume --timeout=30s "${released[@]}" >/dev/null
		"${PROVIDER}_empty_volumes" "${released[@]}"
	fi
	for volume in $(volume_names); do
		printf -- '---\n'
		sed -e "s|@VOLUME@|$volume|g" -e "s|@NODE@|$node|g" -e "s|@FOLDER@|$folder|g" "$CLUSTER_HOME/manifests/volume.yaml"
	done | kube apply --server-side --force-conflicts -f - >/dev/null
}
