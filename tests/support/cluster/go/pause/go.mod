// The program of the pause image, which holds a pod's namespaces open.
module plumbline.dev/tests/cluster/pause

go 1.26.0
