// Builds the interpreter that Argo CD runs health scripts in, at Argo CD's versions, from the module proxy.
module plumbline.dev/tests/cluster/lua

go 1.26.0

require (
	github.com/yuin/gopher-lua v1.1.2
	layeh.com/gopher-json v0.0.0-20190114024228-97fed8db8427
)
