package prometheus

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// What our parser says of an expression: accepted, refused or unsupported.
type verdict struct{ ours, expression string }

// Our parser accepts what Prometheus' own parser accepts, but for what it calls unsupported.
func TestParserAcceptsWhatPrometheusAccepts(t *testing.T) {
	// Our parser leaves it to the server which features are on.
	prometheus := parser.NewParser(parser.Options{
		EnableExperimentalFunctions:  true,
		ExperimentalDurationExpr:     true,
		EnableExtendedRangeSelectors: true,
		EnableBinopFillModifiers:     true,
	})
	counts := map[string]int{}
	for _, verdict := range append(table(t), mutations(t)...) {
		_, err := prometheus.ParseExpr(strings.ReplaceAll(verdict.expression, "␤", "\n"))
		switch {
		case verdict.ours == "accepted" && err == nil:
			counts["equal"]++
		case verdict.ours == "refused" && err != nil:
			counts["refused by both"]++
		case verdict.ours == "unsupported" && err == nil:
			counts["unsupported"]++
		default:
			counts["unexplained"]++
			t.Errorf("%q is %s here; Prometheus' error: %v", verdict.expression, verdict.ours, err)
		}
	}
	t.Logf("compared %d, equal %d, refused by both %d, unsupported %d, unexplained %d",
		counts["equal"]+counts["refused by both"]+counts["unsupported"]+counts["unexplained"],
		counts["equal"], counts["refused by both"], counts["unsupported"], counts["unexplained"])
	if counts["equal"] < 400 || counts["refused by both"] < 500 {
		t.Error("too few expressions: were the files read?")
	}
}

// The expressions with which our parser is tested.
func table(t *testing.T) (verdicts []verdict) {
	ours := ""
	for _, line := range lines(t, "../../../rules/promql/tests/expressions.txt") {
		heading, isHeading := strings.CutPrefix(line, "== ")
		switch {
		case line == "" || strings.HasPrefix(line, "## "):
		case isHeading:
			ours, _, _ = strings.Cut(heading, ":")
		default:
			verdicts = append(verdicts, verdict{ours, line})
		}
	}
	return verdicts
}

// The mutations that our own test made and judged, one on each line after the verdict.
func mutations(t *testing.T) (verdicts []verdict) {
	file := os.Getenv("PROMQL_VERDICTS")
	if file == "" {
		t.Log("no mutations: scripts/test promql makes some and names their file in PROMQL_VERDICTS")
		return nil
	}
	for _, line := range lines(t, file) {
		if ours, expression, found := strings.Cut(line, " "); found {
			verdicts = append(verdicts, verdict{ours, expression})
		}
	}
	return verdicts
}

func lines(t *testing.T, file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}
