//go:build tools

// Package hey pins the load generator that the tutorial uses.
package hey

import (
	_ "github.com/rakyll/hey"
)
