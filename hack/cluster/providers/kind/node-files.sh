# shellcheck shell=bash
# The file system of a node image made here: Debian with what kind's own recipe installs, kind's files, and Kubernetes.

# kind_install_packages ROOT
kind_install_packages() {
	local packages=(
		systemd dbus conntrack iptables iproute2 ethtool util-linux mount kmod libseccomp2 e2fsprogs bash ca-certificates
		curl jq procps socat containerd runc containernetworking-plugins
	)
	local mirror=()
	# The mirror that the machine itself uses.
	if [[ -f /etc/debian_version ]] && command -v apt-get >/dev/null; then
		# shellcheck disable=SC2016 # expanded by apt-get
		mapfile -t mirror < <(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' 'Component: main' | head -1)
	fi
	nice -n 5 debootstrap --variant=minbase --include="$(IFS=, && echo "${packages[*]}")" bookworm "$1" "${mirror[@]}"
}

# kind_install_node ROOT: what kind's images/base/Dockerfile and its `build node-image` do.
kind_install_node() {
	local root=$1 kind program
	kind=$(kind_module)
	# The module cache is read-only and has lost the execute bits.
	cp -r --no-preserve=mode "$kind/images/base/files/." "$root/"
	chmod 0755 "$root"/usr/local/bin/* "$root"/kind/bin/*
	for program in containerd ctr containerd-shim-runc-v2; do
		ln -sf "/usr/bin/$program" "$root/usr/local/bin/$program"
	done
	mkdir -p "$root/opt/cni/bin" "$root/etc/kubernetes/manifests" "$root/kind/manifests"
	cp "$root"/usr/lib/cni/* "$root/opt/cni/bin/"
	# Without the right to lower it, which a machine may lack, every container would fail to start.
	sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$root/etc/containerd/config.toml"
	for program in kubeadm kubelet kubectl; do
		install -m 0755 "$(readlink -f "$BIN/$program")" "$root/usr/bin/$program"
	done
	printf '%s' "$KUBERNETES_VERSION" >"$root/kind/version"
	cp "$CLUSTER_HOME/manifests/storage-class.yaml" "$root/kind/manifests/default-storage.yaml"
	# shellcheck disable=SC2016 # expanded in the node's file system
	chroot "$root" bash -euc '
		find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
		rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
			/lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
			/lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
		echo ReadKMsg=no >>/etc/systemd/journald.conf
		ln -sf /usr/lib/systemd/systemd /sbin/init
		systemctl enable kubelet.service containerd.service undo-mount-hacks.service
		systemctl mask systemd-binfmt.service
		ctr oci spec |
			jq ".hooks.createContainer[.hooks.createContainer | length] |= . + {path: \"/kind/bin/mount-product-files.sh\"}" |
			jq "del(.process.rlimits)" >/etc/containerd/cri-base.json
		rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
		mkdir -p /var/log/journal
	'
}
