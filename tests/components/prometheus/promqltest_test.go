package prometheus

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// The behaviour files of the embedded engine, run by Prometheus' own evaluator: what they say is what Prometheus does.
func TestBehaviourFilesHoldForPrometheus(t *testing.T) {
	files, err := filepath.Glob("../../../adapter/engine/tests/promql/*.test")
	if err != nil || len(files) == 0 {
		t.Fatalf("no behaviour files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// The options of a server without feature flags.
			engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
				MaxSamples:               50_000_000,
				Timeout:                  time.Minute,
				NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
				EnableAtModifier:         true,
				EnableNegativeOffset:     true,
			})
			promqltest.RunTest(t, string(text), engine)
		})
	}
}
