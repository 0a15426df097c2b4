//go:build tools

// Package etcd names the program that the cluster tool builds, so that go.mod keeps its modules.
package etcd

import _ "go.etcd.io/etcd/server/v3"
