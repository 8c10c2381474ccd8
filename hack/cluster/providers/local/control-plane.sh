# shellcheck shell=bash
# etcd, the API server, the controller manager and the scheduler, as plain processes on the host.

# local_start NAME COMMAND...: starts a part of the control plane unless it runs.
local_start() {
	local name=$1
	shift
	process_alive "$STATE/run/$name" || start_process "$STATE/run/$name" "$STATE/logs/$name.log" "$@"
}

local_start_control_plane() {
	mkdir -p "$STATE/run" "$STATE/logs"
	# What is stored is lost with the machine anyway, so nothing waits for the disk.
	local_start etcd "$BIN/etcd" --name "$CLUSTER_NAME" --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
		--listen-client-urls "http://$LOCAL_LOOPBACK:2379" --advertise-client-urls "http://$LOCAL_LOOPBACK:2379" \
		--listen-peer-urls "http://$LOCAL_LOOPBACK:2380" --initial-advertise-peer-urls "http://$LOCAL_LOOPBACK:2380" \
		--initial-cluster "$CLUSTER_NAME=http://$LOCAL_LOOPBACK:2380" --auto-compaction-retention 10m
	local_start_apiserver
	AWAIT_HINT="see $STATE/logs/kube-apiserver.log and etcd.log" await 120 "the API server" kube get --raw=/readyz
	say "API server ready"
	# Not before the API server is ready: these end when their permissions are not there yet. There is one of each, so electing
	# a leader would only cost writes.
	local_start kube-controller-manager "$BIN/kube-controller-manager" \
		--kubeconfig "$STATE/certificates/controller-manager.kubeconfig" --leader-elect=false \
		--use-service-account-credentials --service-account-private-key-file "$STATE/certificates/service-accounts.key" \
		--root-ca-file "$STATE/certificates/authority.crt" \
		--cluster-signing-cert-file "$STATE/certificates/authority.crt" \
		--cluster-signing-key-file "$STATE/certificates/authority.key" \
		--kube-api-qps 200 --kube-api-burst 400 --bind-address "$LOCAL_LOOPBACK"
	local_start kube-scheduler "$BIN/kube-scheduler" \
		--kubeconfig "$STATE/certificates/scheduler.kubeconfig" --leader-elect=false \
		--kube-api-qps 200 --kube-api-burst 400 --bind-address "$LOCAL_LOOPBACK"
}

local_start_apiserver() {
	local certificates=$STATE/certificates
	# Endpoints directly, not Services: kube-proxy runs in the nodes only, and webhooks must be reached from here.
	local_start kube-apiserver "$BIN/kube-apiserver" \
		--etcd-servers "http://$LOCAL_LOOPBACK:2379" \
		--bind-address "$LOCAL_HOST_ADDRESS" --advertise-address "$LOCAL_HOST_ADDRESS" --secure-port 6443 \
		--client-ca-file "$certificates/authority.crt" \
		--tls-cert-file "$certificates/kube-apiserver.crt" --tls-private-key-file "$certificates/kube-apiserver.key" \
		--kubelet-client-certificate "$certificates/kubelet-client.crt" \
		--kubelet-client-key "$certificates/kubelet-client.key" \
		--kubelet-preferred-address-types InternalIP \
		--service-account-issuer "https://kubernetes.default.svc.$CLUSTER_DOMAIN" \
		--service-account-key-file "$certificates/service-accounts.key" \
		--service-account-signing-key-file "$certificates/service-accounts.key" \
		--service-cluster-ip-range "$LOCAL_SERVICE_NET" \
		--authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
		--enable-aggregator-routing --allow-privileged --profiling=false
}

local_stop_control_plane() {
	local name
	for name in kube-scheduler kube-controller-manager kube-apiserver etcd; do
		stop_process "$STATE/run/$name" 3
	done
}
