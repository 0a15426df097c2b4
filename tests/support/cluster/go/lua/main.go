// Runs health scripts as Argo CD does: its interpreter, the few libraries it opens, the object in `obj`.
//
// Standard input: a JSON list of {"script": text, "obj": object}. Standard output: a JSON list of what each script
// returned, {"health": {…}}, or {"error": text}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

type job struct {
	Script string          `json:"script"`
	Obj    json.RawMessage `json:"obj"`
}

type answer struct {
	Health json.RawMessage `json:"health,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// The base and table libraries; no string, no input and output, nothing of the system.
var libraries = map[string]lua.LGFunction{
	lua.LoadLibName: lua.OpenPackage,
	lua.BaseLibName: lua.OpenBase,
	lua.TabLibName:  lua.OpenTable,
}

func run(one job) (json.RawMessage, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range libraries {
		call := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	object, err := luajson.Decode(state, one.Obj)
	if err != nil {
		return nil, err
	}
	state.SetGlobal("obj", object)
	if err := state.DoString(one.Script); err != nil {
		return nil, err
	}
	result := state.Get(-1)
	if result.Type() != lua.LTTable {
		return nil, fmt.Errorf("the script returned %s instead of a table", result.Type())
	}
	return luajson.Encode(result)
}

func main() {
	var jobs []job
	if err := json.NewDecoder(os.Stdin).Decode(&jobs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answers := make([]answer, len(jobs))
	for number, one := range jobs {
		health, err := run(one)
		if err != nil {
			answers[number] = answer{Error: err.Error()}
			continue
		}
		answers[number] = answer{Health: health}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
