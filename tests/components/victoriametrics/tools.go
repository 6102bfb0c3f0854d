//go:build tools

// Package victoriametrics pins the VictoriaMetrics that tests build and run.
package victoriametrics

import (
	_ "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics"
)
