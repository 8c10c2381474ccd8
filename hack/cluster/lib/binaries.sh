# shellcheck shell=bash
# The binaries a cluster is made of, built from the Go modules under tools/ and kept in the cache by a hash of what they are
# built from, so that a changed version is built anew and an unchanged one costs nothing.

KUBERNETES_VERSION=v1.35.4

# tool_of BINARY: the module it is built in, and its package.
tool_of() {
	case $1 in
	etcd) echo "etcd go.etcd.io/etcd/server/v3" ;;
	coredns) echo "coredns ." ;;
	kind) echo "kind sigs.k8s.io/kind" ;;
	pause) echo "pause ." ;;
	probe) echo "probe ." ;;
	kube-apiserver | kube-controller-manager | kube-proxy | kube-scheduler | kubeadm | kubectl | kubelet)
		echo "kubernetes k8s.io/kubernetes/cmd/$1"
		;;
	*) die "no tool builds the binary '$1'" ;;
	esac
}

# tool_folder TOOL: where the binaries of the tool's present version are kept.
tool_folder() {
	local hash
	hash=$(cd "$CLUSTER_HOME/tools/$1" && cat ./*.mod ./*.sum ./*.go 2>/dev/null | sha256sum)
	printf '%s/%s-%s\n' "$BIN_STORE" "$1" "${hash:0:12}"
}

# need_binaries BINARY...: builds those that the cache lacks and links each as $BIN/BINARY.
need_binaries() {
	local binary tool package folder
	mkdir -p "$BIN"
	for binary in "$@"; do
		read -r tool package < <(tool_of "$binary")
		folder=$(tool_folder "$tool")
		[[ -x $folder/$binary ]] || build_binary "$binary" "$tool" "$package" "$folder"
		[[ $BIN/$binary -ef $folder/$binary ]] || ln -sfn "$folder/$binary" "$BIN/$binary"
	done
}

# build_binary BINARY TOOL PACKAGE FOLDER
build_binary() {
	local binary=$1 tool=$2 package=$3 folder=$4 flags="-s -w"
	command -v go >/dev/null || die "Go is needed to build $binary and is not installed" \
		"install Go $(awk '$1 == "go" {print $2}' "$CLUSTER_HOME/tools/$tool/go.mod") or newer and put it on the PATH"
	if [[ $tool == kubernetes ]]; then
		local version=k8s.io/component-base/version
		flags+=" -X $version.gitVersion=$KUBERNETES_VERSION -X $version.gitTreeState=clean"
		flags+=" -X $version.gitMajor=1 -X $version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
	fi
	say "building $binary (once; minutes when the Go build cache is cold)"
	mkdir -p "$folder"
	# Written beside its place and moved there: a build that was interrupted must not look like a finished one. Niced, because
	# it takes every core for minutes.
	(
		cd "$CLUSTER_HOME/tools/$tool"
		CGO_ENABLED=0 GOFLAGS="-buildvcs=false" GOWORK=off \
			nice -n 5 go build -trimpath -ldflags "$flags" -o "$folder/.$binary.$$" "$package"
	) || die "failed to build $binary from $CLUSTER_HOME/tools/$tool" "the Go module proxy must be reachable for the first build"
	mv "$folder/.$binary.$$" "$folder/$binary"
}
