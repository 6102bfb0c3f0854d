//go:build tools

// Package etcd pins the etcd server that tests build and run.
package etcd

import (
	_ "go.etcd.io/etcd/server/v3"
)
