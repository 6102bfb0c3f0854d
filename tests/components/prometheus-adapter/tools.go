//go:build tools

// Package adapter pins the prometheus-adapter that tests build, run and compare with.
package adapter

import (
	_ "sigs.k8s.io/prometheus-adapter/cmd/adapter"
)
