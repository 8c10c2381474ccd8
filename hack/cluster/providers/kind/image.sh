# shellcheck shell=bash
# The image of a node.

KIND_OWN_IMAGE=meanet.dev/hack/node

# kind_node_image: the name of the image to make nodes from, present in the engine: MEANET_KIND_NODE_IMAGE where set; kind's own
# where it is there or can be pulled; else one made here.
kind_node_image() {
	local image official
	if [[ -n ${MEANET_KIND_NODE_IMAGE:-} ]]; then
		printf '%s\n' "$MEANET_KIND_NODE_IMAGE"
		return
	fi
	image=$KIND_OWN_IMAGE:$(kind_image_version)
	if kind_has_image "$image"; then
		printf '%s\n' "$image"
		return
	fi
	official=docker.io/$(sed -n 's/^const Image = "\(.*\)"$/\1/p' "$(kind_module)/pkg/apis/config/defaults/image.go")
	if kind_has_image "$official" || kind_pull "$official"; then
		printf '%s\n' "$official"
		return
	fi
	say "$official cannot be pulled: making a node image from Debian's packages and from source"
	kind_make_image "$image"
	printf '%s\n' "$image"
}

# kind_module: the folder of kind's source, in Go's module cache.
kind_module() {
	cd "$CLUSTER_HOME/tools/kind" && go mod download sigs.k8s.io/kind && GOWORK=off go list -m -f '{{.Dir}}' sigs.k8s.io/kind
}

# kind_image_version: a hash of all that the image is made from.
kind_image_version() {
	{
		cat "$CLUSTER_HOME"/providers/kind/{image,node-files}.sh
		for tool in kubernetes etcd coredns pause kind; do tool_folder "$tool"; done
	} | sed "s|$CACHE||g" | sha256sum | cut -c1-12
}

kind_has_image() {
	"$KIND_ENGINE" image inspect "$1" >/dev/null 2>&1
}

# kind_pull IMAGE: asks the registry whether it is there first, so that a machine without one finds out in seconds.
kind_pull() {
	timeout 15 "$KIND_ENGINE" manifest inspect "$1" >/dev/null 2>&1 || return 1
	say "pulling $1"
	"$KIND_ENGINE" pull "$1" >/dev/null
}

# kind_make_image IMAGE
kind_make_image() {
	[[ $EUID == 0 ]] || die "making a node image needs root" \
		"pull ${1%%:*} some other way and name it in MEANET_KIND_NODE_IMAGE, or use sudo"
	need_packages debootstrap=debootstrap python3=python3
	need_binaries kubeadm kubelet kubectl kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd coredns pause
	local work=$CACHE/node-image log=$CACHE/cluster/node-image.log
	# What an interrupted run left may still have something mounted, in namespaces that ended with it: nothing else may.
	rm -rf --one-file-system "$work"
	mkdir -p "$work/root" "$work/images"
	: >"$log"
	kind_step "$log" "installing Debian" kind_install_packages "$work/root"
	kind_step "$log" "installing kind's files and Kubernetes" kind_install_node "$work/root"
	kind_step "$log" "making the control plane's images" kind_make_archives "$work/root" "$work/images"
	kind_step "$log" "loading them into its containerd" kind_import_archives "$work/root" "$work/images"
	say "node image: handing it to $KIND_ENGINE"
	tar -C "$work/root" --numeric-owner -c . | "$KIND_ENGINE" import \
		--change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' \
		--change 'ENV container=docker' --change 'STOPSIGNAL SIGRTMIN+3' - "$1" >>"$log" 2>&1 ||
		die "failed to import the node image" "see $log"
	rm -rf --one-file-system "$work"
	# Those of earlier versions are a gigabyte each.
	local old
	for old in $("$KIND_ENGINE" images --filter "reference=$KIND_OWN_IMAGE" --format '{{.Repository}}:{{.Tag}}'); do
		[[ $old == "$1" ]] || "$KIND_ENGINE" image rm "$old" >>"$log" 2>&1 || true
	done
}

# kind_step LOG TEXT COMMAND...
kind_step() {
	local log=$1
	say "node image: $2"
	shift 2
	# In the background, because the shell would go on past a failed line of a command that it is to test.
	"$@" >>"$log" 2>&1 &
	wait "$!" || die "failed to make the node image" "see $log"
}

# kind_make_archives ROOT FOLDER: the images that kubeadm asks for, under the names and versions that it asks for.
kind_make_archives() {
	local root=$1 folder=$2 name part archive
	kind_proxy_files "$root" "$folder/proxy-files"
	while read -r name; do
		part=${name##*/}
		part=${part%%:*}
		archive=$folder/$part.tar
		case $part in
		kube-proxy)
			kind_archive "$name" "$archive" kube-proxy --file "$folder/proxy-files:/"
			;;
		# As root: kubeadm gives it the right to listen on port 53, which a process of another user would not hold.
		kube-* | etcd | coredns) kind_archive "$name" "$archive" "$part" ;;
		# kubeadm and containerd's settings name two versions of it.
		pause) kind_archive "$name" "$archive" pause --name "$(kind_sandbox_image "$root")" ;;
		*) die "kubeadm asks for an image that is not known: $name" "teach kind_make_archives to make it" ;;
		esac
	done < <("$BIN/kubeadm" config images list --kubernetes-version "$KUBERNETES_VERSION")
}

# kind_archive NAME ARCHIVE BINARY [OPTION...]
kind_archive() {
	local name=$1 archive=$2 binary=$3
	shift 3
	"$CLUSTER_HOME/../oci-archive" --name "$name" --output "$archive" --level 1 \
		--file "$(readlink -f "$BIN/$binary"):/usr/local/bin/$binary:0755" --entrypoint "/usr/local/bin/$binary" "$@"
}

# kind_sandbox_image ROOT: the image that the node's containerd starts every pod with.
kind_sandbox_image() {
	sed -n 's/.*sandbox_image = "\(.*\)"/\1/p' "$1/etc/containerd/config.toml"
}

# kind_proxy_files ROOT FOLDER: the programs that kube-proxy runs, with their libraries and those of their plug-ins: without them
# nodes look well and Services are dead.
kind_proxy_files() {
	local root=$1 folder=$2 file
	mkdir -p "$folder/usr/sbin"
	# shellcheck disable=SC2016 # expanded in the node's file system
	chroot "$root" sh -euc '
		plugins=$(ls /usr/lib/*/xtables/*.so)
		printf "%s\n" $plugins
		ldd /usr/sbin/xtables-nft-multi $plugins | grep -o "/lib[^ ]*" | grep -v ":$"
	' | sort -u | while read -r file; do
		mkdir -p "$folder$(dirname "$file")"
		cp -L "$root$file" "$folder$file"
	done
	cp "$root/usr/sbin/xtables-nft-multi" "$folder/usr/sbin/"
	for file in iptables ip6tables; do
		ln -s xtables-nft-multi "$folder/usr/sbin/$file"
		ln -s xtables-nft-multi "$folder/usr/sbin/$file-save"
		ln -s xtables-nft-multi "$folder/usr/sbin/$file-restore"
	done
}

# kind_import_archives ROOT FOLDER: hands them to the node's own containerd, run for that in namespaces that end with it.
kind_import_archives() {
	mkdir "$1/images"
	mv "$2"/*.tar "$1/images/"
	# shellcheck disable=SC2016 # expanded in the node's file system
	unshare --mount --pid --fork --kill-child chroot "$1" bash -euc '
		mount -t proc proc /proc
		mount -t tmpfs tmpfs /run
		containerd --config /etc/containerd/config.toml & daemon=$!
		for ((try = 0; try < 150; try++)); do ctr version >/dev/null 2>&1 && break; sleep 0.2; done
		for archive in /images/*.tar; do ctr --namespace k8s.io images import --no-unpack "$archive"; done
		ctr --namespace k8s.io images ls -q
		kill "$daemon"
		wait "$daemon" || true
	'
	rm -r "$1/images"
}
