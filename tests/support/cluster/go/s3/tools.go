//go:build tools

// Package s3 names the program that the cluster tool builds, so that go.mod keeps its modules.
package s3

import _ "github.com/versity/versitygw/cmd/versitygw"
