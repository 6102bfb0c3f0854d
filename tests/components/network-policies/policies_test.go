// Package policies says who may reach what under the NetworkPolicies that are shipped, by cyclonus' model of them.
//
// NETWORK_POLICIES names a file with the rendered manifests; scripts/manifests writes it.
package policies

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func read(t *testing.T) *matcher.Policy {
	file := os.Getenv("NETWORK_POLICIES")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("expected NETWORK_POLICIES to name the rendered manifests, found %q: %v", file, err)
	}
	var found []*networking.NetworkPolicy
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var raw struct {
			meta.TypeMeta `json:",inline"`
			networking.NetworkPolicy
		}
		err := documents.Decode(&raw)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if raw.TypeMeta.Kind == "NetworkPolicy" {
			found = append(found, &raw.NetworkPolicy)
		}
	}
	if len(found) != 2 {
		t.Fatalf("expected two NetworkPolicies, found %d", len(found))
	}
	return matcher.BuildNetworkPolicies(true, found)
}

func pod(namespace, ip string, labels map[string]string) *matcher.TrafficPeer {
	named := map[string]string{"kubernetes.io/metadata.name": namespace}
	return &matcher.TrafficPeer{
		Internal: &matcher.InternalPeer{Namespace: namespace, NamespaceLabels: named, PodLabels: labels},
		IP:       ip,
	}
}

func host(ip string) *matcher.TrafficPeer { return &matcher.TrafficPeer{IP: ip} }

type port struct {
	name   string
	number int
}

func TestTrafficIsAllowedAsTheTableSays(t *testing.T) {
	policies := read(t)
	adapter := pod("monitoring", "10.244.1.2", map[string]string{"app.kubernetes.io/name": "adapter"})
	model := pod("default", "10.244.1.3", map[string]string{"app": "model-server"})
	prometheus := map[string]string{"app.kubernetes.io/name": "prometheus"}
	client := map[string]string{"model-server-client": "true"}
	konnectivity := map[string]string{"k8s-app": "konnectivity-agent"}
	https, http, admin := port{"https", 6443}, port{"http", 8080}, port{"admin", 8081}
	for _, row := range []struct {
		from    string
		source  *matcher.TrafficPeer
		adapter bool
		model   bool
		admin   bool
	}{
		{"kube-apiserver on a host", host("172.18.0.2"), true, false, false},
		{"kube-apiserver on a host over IPv6", host("fd12:3456::2"), true, false, false},
		{"kube-apiserver outside of the cluster", host("203.0.113.7"), true, false, false},
		{"a konnectivity agent", pod("kube-system", "10.244.0.9", konnectivity), true, false, false},
		{"a pod that calls itself one", pod("default", "10.244.0.9", konnectivity), false, false, false},
		{"Prometheus", pod("monitoring", "10.244.2.2", prometheus), true, true, false},
		{"a Prometheus of another namespace", pod("default", "10.244.2.3", prometheus), false, false, false},
		{"a client of the model", pod("default", "10.244.2.4", client), false, true, false},
		{"a client of another namespace", pod("other", "10.244.2.5", client), false, false, false},
		{"another pod of the adapter's namespace", pod("monitoring", "10.244.2.6", nil), false, false, false},
		{"another pod", pod("other", "10.42.0.7", nil), false, false, false},
		{"another pod over IPv6", pod("other", "fd00:10:244::7", nil), false, false, false},
	} {
		for _, reach := range []struct {
			to          string
			destination *matcher.TrafficPeer
			port        port
			expected    bool
		}{
			{"the adapter", adapter, https, row.adapter},
			{"the model server", model, http, row.model},
			{"the model server's admin listener", model, admin, row.admin},
		} {
			traffic := &matcher.Traffic{
				Source:           row.source,
				Destination:      reach.destination,
				ResolvedPort:     reach.port.number,
				ResolvedPortName: reach.port.name,
				Protocol:         core.ProtocolTCP,
			}
			found := policies.IsTrafficAllowed(traffic).IsAllowed()
			fmt.Printf("%-42s -> %-36s %v\n", row.from, reach.to, found)
			if found != reach.expected {
				t.Errorf("%s to %s: expected %v, found %v", row.from, reach.to, reach.expected, found)
			}
		}
	}
}
