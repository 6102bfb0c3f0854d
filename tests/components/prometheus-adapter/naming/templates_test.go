// Package naming proves what Go's text/template makes of rule templates. It is named as upstream's package is, so that
// `%T` prints the same.
package naming

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"text/template"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Templates and what Go makes of them; `cargo test -p rules` reads the same file.
const file = "../../../../rules/tests/data/templates.jsonl"

var (
	write     = flag.String("write", "", "write generated templates and what Go makes of them to this file")
	seed      = flag.Int64("seed", 1, "seed of the generated templates")
	generated = flag.Int("generated", 1200, "number of generated templates, beside those written by hand")
)

// The data of a query's template: the fields of upstream's pkg/naming/metrics_query.go.
type queryTemplateArgs struct {
	Series            string
	LabelMatchers     string
	LabelValuesByName map[string]string
	GroupBy           string
	GroupBySlice      []string
}

// The first line of the file: what each template is run with.
type data struct {
	Queries []queryTemplateArgs
	Labels  []schema.GroupResource
}

// Any further line.
type testCase struct {
	// Whether it is the template of a label and not of a query.
	Label    bool `json:",omitempty"`
	Template string
	// Whether it is refused when it is parsed.
	Refused bool `json:",omitempty"`
	// For each data set: `=` and the text, `x` and the text in hexadecimal where it is not UTF-8, or `!` where it fails.
	Results []string `json:",omitempty"`
}

var sets = data{
	Queries: []queryTemplateArgs{
		{
			Series:            "http_requests_total",
			LabelMatchers:     `namespace="team-a",pod=~"web-1|web-2"`,
			LabelValuesByName: map[string]string{"namespace": "team-a", "pod": "web-1|web-2", "queue": ""},
			GroupBy:           "pod",
			GroupBySlice:      []string{"pod"},
		},
		{
			Series:            "vllm:depth",
			LabelMatchers:     `team!="a<b>&'c'",zone=~"é|ü",node="n1"`,
			LabelValuesByName: map[string]string{"node": "n1", "team": "a<b>&'c'", "zone": "é|ü"},
			GroupBy:           "node,container",
			GroupBySlice:      []string{"node", "container"},
		},
		{LabelValuesByName: map[string]string{}, GroupBySlice: []string{}},
	},
	Labels: []schema.GroupResource{
		{Resource: "pod"},
		{Group: "apps", Resource: "deployment"},
		{Group: "(?P<group>.*?)", Resource: "(?P<resource>.+?)"},
	},
}

// What Go makes of a template.
func expected(label bool, text string) testCase {
	result := testCase{Label: label, Template: text}
	// Upstream's names of its templates, by which they can call themselves.
	name := "metrics-query"
	if label {
		name = "resource-label"
	}
	parsed, err := template.New(name).Delims("<<", ">>").Parse(text)
	if err != nil {
		result.Refused = true
		return result
	}
	run := func(data any) {
		var out bytes.Buffer
		switch err := parsed.Execute(&out, data); {
		case err != nil:
			result.Results = append(result.Results, "!")
		case utf8.Valid(out.Bytes()):
			result.Results = append(result.Results, "="+out.String())
		default:
			result.Results = append(result.Results, "x"+hex.EncodeToString(out.Bytes()))
		}
	}
	if label {
		for _, data := range sets.Labels {
			run(data)
		}
	} else {
		for _, data := range sets.Queries {
			run(data)
		}
	}
	return result
}

func TestTemplatesRenderAsTheFileSays(t *testing.T) {
	input, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 1<<20)
	wanted, _ := json.Marshal(sets)
	if !lines.Scan() || !bytes.Equal(lines.Bytes(), wanted) {
		t.Fatalf("expected the data sets of this test in the first line of %s", file)
	}
	cases, refused := 0, 0
	for lines.Scan() {
		var found testCase
		if err := json.Unmarshal(lines.Bytes(), &found); err != nil {
			t.Fatal(err)
		}
		cases++
		if found.Refused {
			refused++
		}
		wanted := encode(expected(found.Label, found.Template))
		if !bytes.Equal(wanted, lines.Bytes()) {
			t.Errorf("Go makes of it:  %s\nthe file has:    %s", wanted, lines.Bytes())
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if cases < 500 {
		t.Errorf("expected 500 templates at least, found %d", cases)
	}
	t.Logf("%d templates, of which Go refuses %d", cases, refused)
}

// Makes the file: go test ./naming -run TestWrite -write ../../../../rules/tests/data/templates.jsonl
func TestWriteTemplates(t *testing.T) {
	if *write == "" {
		t.Skip("writes the file only where -write names it")
	}
	var out bytes.Buffer
	line, _ := json.Marshal(sets)
	out.Write(append(line, '\n'))
	for _, sample := range samples(*seed, *generated) {
		out.Write(append(encode(expected(sample.label, sample.text)), '\n'))
	}
	if err := os.WriteFile(*write, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func encode(value testCase) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(out.Bytes())
}
