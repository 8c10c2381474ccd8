module meanet.dev/hack/cluster/tools/pause

go 1.25.0
