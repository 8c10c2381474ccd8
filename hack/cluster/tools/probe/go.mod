module meanet.dev/hack/cluster/tools/probe

go 1.25.0
