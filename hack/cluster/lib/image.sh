# shellcheck shell=bash
# Images of the cluster's own parts, each one static binary, made by hack/oci-archive and kept in the cache.

PAUSE_IMAGE=meanet.dev/hack/pause:1
PROBE_IMAGE=meanet.dev/hack/probe:1
COREDNS_IMAGE=meanet.dev/hack/coredns:1.15.0

# binary_image NAME BINARY [OPTION...]: makes the archive of image NAME that runs BINARY where the cache lacks it, and prints
# its path.
binary_image() {
	local name=$1 binary=$2 source archive
	shift 2
	need_binaries "$binary"
	source=$(readlink -f "$BIN/$binary")
	archive=$(dirname "$source")/$(tr '/:' '__' <<<"$name").tar
	if [[ ! -f $archive || $CLUSTER_HOME/../oci-archive -nt $archive ]]; then
		"$CLUSTER_HOME/../oci-archive" --name "$name" --output "$archive" --file "$source:/$binary:0755" \
			--entrypoint "/$binary" "$@" >/dev/null
	fi
	printf '%s\n' "$archive"
}

pause_image() {
	binary_image "$PAUSE_IMAGE" pause --user 65535:65535
}

coredns_image() {
	binary_image "$COREDNS_IMAGE" coredns --user 65532:65532
}

probe_image() {
	binary_image "$PROBE_IMAGE" probe --user 65532:65532
}
