// Package adapter puts odd answers of Prometheus to upstream's own client. The same file of answers is read by a test
// of ours (adapter/tests/odd_answers.rs), which also says what differs and why.
//
// With UPDATE=1 what upstream makes of each answer is written again.
package adapter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"sort"
	"strconv"
	"testing"

	"github.com/prometheus/common/model"
	"sigs.k8s.io/prometheus-adapter/pkg/client"
)

const file = "../../../adapter/tests/odd_answers.jsonl"

type answer struct {
	Name string `json:"name"`
	// Of is "query" or "series".
	Of   string `json:"of"`
	Code int    `json:"code,omitempty"`
	// Body, or Hex where it is not UTF-8.
	Body     string   `json:"body,omitempty"`
	Hex      string   `json:"hex,omitempty"`
	Upstream *outcome `json:"upstream"`
	// Ours and Why are for the other test; ours is upstream's where it is left out.
	Ours json.RawMessage `json:"ours,omitempty"`
	Why  string          `json:"why,omitempty"`
}

// outcome has one field that is not nil.
type outcome struct {
	Vector *[]sample `json:"vector,omitempty"`
	Scalar *sample   `json:"scalar,omitempty"`
	Series *[]series `json:"series,omitempty"`
	// Type is that of a result that makes no values.
	Type  string `json:"type,omitempty"`
	Error string `json:"error,omitempty"`
}

type sample struct {
	Labels map[string]string `json:"labels,omitempty"`
	Ms     int64             `json:"ms"`
	Value  string            `json:"value"`
	// Odd says what else stands where a sample should: a histogram, or nothing.
	Odd string `json:"odd,omitempty"`
}

type series struct {
	Name   string   `json:"name"`
	Labels []string `json:"labels"`
}

func number(value model.SampleValue) string {
	return strconv.FormatFloat(float64(value), 'g', -1, 64)
}

func asked(body []byte, entry answer) *outcome {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if entry.Code != 0 {
			w.WriteHeader(entry.Code)
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		panic(err)
	}
	prometheus := client.NewClient(http.DefaultClient, base, nil, http.MethodGet)
	if entry.Of == "series" {
		found, err := prometheus.Series(context.Background(), model.Interval{}, "m")
		if err != nil {
			return &outcome{Error: err.Error()}
		}
		list := []series{}
		for _, one := range found {
			labels := []string{}
			for name := range one.Labels {
				labels = append(labels, string(name))
			}
			sort.Strings(labels)
			list = append(list, series{Name: one.Name, Labels: labels})
		}
		return &outcome{Series: &list}
	}
	result, err := prometheus.Query(context.Background(), 0, "m")
	switch {
	case err != nil:
		return &outcome{Error: err.Error()}
	case result.Scalar != nil:
		return &outcome{Scalar: &sample{Ms: int64(result.Scalar.Timestamp), Value: number(result.Scalar.Value)}}
	case result.Vector != nil:
		list := []sample{}
		for _, one := range *result.Vector {
			if one == nil {
				list = append(list, sample{Odd: "nothing"})
				continue
			}
			labels := map[string]string{}
			for name, value := range one.Metric {
				labels[string(name)] = string(value)
			}
			entry := sample{Labels: labels, Ms: int64(one.Timestamp), Value: number(one.Value)}
			if one.Histogram != nil {
				entry.Odd = "histogram"
			}
			list = append(list, entry)
		}
		return &outcome{Vector: &list}
	default:
		return &outcome{Type: result.Type.String()}
	}
}

func TestOddAnswers(t *testing.T) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var updated bytes.Buffer
	update := os.Getenv("UPDATE") != ""
	count := 0
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry answer
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		body := []byte(entry.Body)
		if entry.Hex != "" {
			if body, err = hex.DecodeString(entry.Hex); err != nil {
				t.Fatal(err)
			}
		}
		found := asked(body, entry)
		count++
		if update {
			entry.Upstream = found
			encoder := json.NewEncoder(&updated)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(entry); err != nil {
				t.Fatal(err)
			}
		} else if !same(found, entry.Upstream) {
			one, _ := json.Marshal(found)
			t.Errorf("%s: upstream makes of it %s", entry.Name, one)
		}
	}
	if update {
		if err := os.WriteFile(file, updated.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("answers put to upstream: %d", count)
}

// same compares as the file holds them: NaN and empty lists too. Errors are alike whatever they say.
func same(one, other *outcome) bool {
	if one.Error != "" && other.Error != "" {
		return true
	}
	var texts [2]any
	for index, outcome := range []*outcome{one, other} {
		text, err := json.Marshal(outcome)
		if err != nil {
			return false
		}
		if json.Unmarshal(text, &texts[index]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(texts[0], texts[1])
}
