// Package resourcerules proves which queries prometheus-adapter's own code makes of the resourceRules in public rule
// files.
package resourcerules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"gopkg.in/yaml.v2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
)

const (
	// Public rule files, which are other people's and not in this repository.
	corpus = "../../../../../shared/corpus"
	// What upstream makes of them; `cargo test -p rules` reads the same file.
	file = "../../../../rules/tests/data/resource_rules.jsonl"
)

var write = flag.Bool("write", false, "write the file in place of holding it to upstream's code")

// A query for the use of pods of a namespace, or of nodes.
type query struct {
	File     string
	Resource string
	// Empty for nodes.
	Namespace string `json:",omitempty"`
	Names     []string
	// The labels of the object and, for pods, of the container.
	Labels []string `json:",omitempty"`
	// The query's SHA-256: its text is other people's. Empty where upstream has an error.
	Query string `json:",omitempty"`
	text  string
}

func TestResourceRulesMakeTheQueriesThatTheFileSays(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(corpus, "expected.json"))
	if os.IsNotExist(err) {
		t.Skip("not run: the corpus of public rule files (../shared/corpus) is not on this machine")
	}
	if err != nil {
		t.Fatal(err)
	}
	var files []struct {
		File          string
		Loads         bool
		ResourceRules bool
	}
	if err := json.Unmarshal(index, &files); err != nil {
		t.Fatal(err)
	}
	var made []query
	for _, entry := range files {
		if entry.Loads && entry.ResourceRules {
			made = append(made, queries(t, entry.File)...)
		}
	}
	var lines [][]byte
	for _, query := range made {
		line, err := json.Marshal(query)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if *write {
		if err := os.WriteFile(file, append(bytes.Join(lines, []byte("\n")), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	found, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	held := bytes.Split(bytes.TrimSuffix(found, []byte("\n")), []byte("\n"))
	if len(held) != len(lines) {
		t.Fatalf("expected %d queries in %s, found %d", len(lines), file, len(held))
	}
	for place, line := range lines {
		if !bytes.Equal(line, held[place]) {
			t.Errorf("%s, line %d: expected %s, found %s; upstream asks %s", file, place+1, line, held[place], made[place].text)
		}
	}
	t.Logf("%d queries", len(held))
}

func queries(t *testing.T, name string) []query {
	rules := load(t, filepath.Join(corpus, name))
	mapper := meta.NewDefaultRESTMapper(nil)
	core := schema.GroupVersion{Version: "v1"}
	mapper.Add(core.WithKind("Pod"), meta.RESTScopeNamespace)
	mapper.Add(core.WithKind("Node"), meta.RESTScopeRoot)
	mapper.Add(core.WithKind("Namespace"), meta.RESTScopeRoot)
	var all []query
	for _, resource := range []struct {
		name string
		rule config.ResourceRule
	}{{"cpu", rules.CPU}, {"memory", rules.Memory}} {
		rule := resource.rule
		converter, err := naming.NewResourceConverter(rule.Resources.Template, rule.Resources.Overrides, mapper)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// As pkg/resourceprovider/provider.go asks.
		ask := func(template, kind, namespace string, extra []string, names ...string) {
			made := query{File: name, Resource: resource.name, Namespace: namespace, Names: names}
			group := schema.GroupResource{Resource: kind}
			compiled, err := naming.NewMetricsQuery(template, converter)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text, err := compiled.Build("", group, namespace, extra, labels.Everything(), names...)
			if err == nil {
				label, err := converter.LabelForResource(group)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				made.Labels = append([]string{string(label)}, extra...)
				sum := sha256.Sum256([]byte(text))
				made.Query = hex.EncodeToString(sum[:])
				made.text = string(text)
			}
			all = append(all, made)
		}
		for _, names := range [][]string{{"one"}, {"one", "two"}, {"a.b", "c.d"}} {
			ask(rule.ContainerQuery, "pods", "team-a", []string{rule.ContainerLabel}, names...)
			ask(rule.NodeQuery, "nodes", "", nil, names...)
		}
	}
	return all
}

// The resourceRules of a configuration, or of the chart's values.
func load(t *testing.T, path string) *config.ResourceRules {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if loaded, err := config.FromYAML(text); err == nil {
		return loaded.ResourceRules
	}
	type values struct {
		Rules struct{ Resource map[string]any }
	}
	var chart struct {
		values  `yaml:",inline"`
		Adapter values `yaml:"prometheus-adapter"`
	}
	if err := yaml.Unmarshal(text, &chart); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	resource := chart.Rules.Resource
	if resource == nil {
		resource = chart.Adapter.Rules.Resource
	}
	text, err = yaml.Marshal(map[string]any{"resourceRules": resource})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := config.FromYAML(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return loaded.ResourceRules
}
