# shellcheck shell=bash
# Who is who in the cluster: one authority, and a certificate for the API server and for each of its clients.

# local_make_certificates: makes what is missing.
local_make_certificates() {
	local folder=$STATE/certificates node
	mkdir -p "$folder"
	chmod 0700 "$folder"
	if [[ ! -f $folder/authority.crt ]]; then
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$CLUSTER_NAME" \
			-addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature \
			-keyout "$folder/authority.key" -out "$folder/authority.crt" 2>"$folder/openssl.log" ||
			die "failed to make the cluster's certificate authority" "see $folder/openssl.log"
	fi
	# Signs service-account tokens. RSA, as in most clusters: a verifier under test has to cope with RS256.
	[[ -f $folder/service-accounts.key ]] || openssl genrsa -out "$folder/service-accounts.key" 2048 2>"$folder/openssl.log"

	local_make_certificate kube-apiserver "/CN=kube-apiserver" "extendedKeyUsage=serverAuth
subjectAltName=IP:$LOCAL_HOST_ADDRESS,IP:$LOCAL_API_SERVICE,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,\
DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.$CLUSTER_DOMAIN"
	local_make_certificate kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client"
	local_make_certificate admin "/O=system:masters/CN=kubernetes-admin"
	local_make_certificate controller-manager "/CN=system:kube-controller-manager"
	local_make_certificate scheduler "/CN=system:kube-scheduler"
	local_make_certificate proxy "/CN=system:kube-proxy"
	for node in "${LOCAL_NODES[@]}"; do
		local_make_certificate "kubelet-$node" "/O=system:nodes/CN=system:node:$node"
		local_make_kubeconfig "kubelet-$node" "$folder/kubelet-$node.kubeconfig"
	done
	for node in controller-manager scheduler proxy; do
		local_make_kubeconfig "$node" "$folder/$node.kubeconfig"
	done
	local_make_kubeconfig admin "$KUBECONFIG_FILE"
}

# local_make_certificate NAME SUBJECT [EXTENSIONS]: a client's unless EXTENSIONS say otherwise.
local_make_certificate() {
	local name=$1 subject=$2 extensions=${3:-extendedKeyUsage=clientAuth} folder=$STATE/certificates
	[[ ! -f $folder/$name.crt ]] || return 0
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$subject" \
		-keyout "$folder/$name.key" 2>"$folder/openssl.log" |
		openssl x509 -req -CA "$folder/authority.crt" -CAkey "$folder/authority.key" -set_serial "0x$(openssl rand -hex 16)" \
			-days 3650 -extfile <(printf 'keyUsage=critical,digitalSignature\n%s\n' "$extensions") \
			-out "$folder/$name.crt" 2>>"$folder/openssl.log" ||
		die "failed to make the certificate of $name" "see $folder/openssl.log"
}

# local_make_kubeconfig NAME FILE: with all in it, so that it may be carried elsewhere.
local_make_kubeconfig() {
	local folder=$STATE/certificates
	[[ ! -f $2 ]] || return 0
	(umask 077 && cat >"$2.partial") <<EOF
apiVersion: v1
kind: Config
clusters:
  - name: $CLUSTER_NAME
    cluster:
      server: https://$LOCAL_HOST_ADDRESS:6443
      certificate-authority-data: $(base64 -w0 <"$folder/authority.crt")
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 <"$folder/$1.crt")
      client-key-data: $(base64 -w0 <"$folder/$1.key")
contexts:
  - name: $CLUSTER_NAME
    context: {cluster: $CLUSTER_NAME, user: $1}
current-context: $CLUSTER_NAME
EOF
	mv "$2.partial" "$2"
}
