// CoreDNS, the cluster's name server, built from source so that no image or download site is needed.
module meanet.dev/hack/cluster/tools/coredns

go 1.25.0

tool github.com/coredns/coredns

require github.com/coredns/coredns v1.15.0
