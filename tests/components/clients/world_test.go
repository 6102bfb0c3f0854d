// Package clients drives the metrics APIs with the clients that autoscalers, kubectl and others are made of.
//
// The Rust test `the_clients_of_client_go_are_answered` starts the servers and the metrics that are asked for here
// (tests/src/world), and says in the environment where they are. By hand, nothing is asked and every test is skipped.
package clients

import (
	"net/http"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// A way to the adapter and the content type in which it is asked to answer.
type route struct {
	name string
	// The adapter's address; empty for the way through kube-apiserver.
	host    string
	content string
}

// Each way with each content type.
func routes(t *testing.T) []route {
	t.Helper()
	adapter := fromEnvironment(t, "ADAPTER_URL")
	var all []route
	for content, mediaType := range map[string]string{
		"json":     "application/json",
		"protobuf": "application/vnd.kubernetes.protobuf",
	} {
		all = append(all,
			route{name: "aggregated/" + content, content: mediaType},
			route{name: "direct/" + content, host: adapter, content: mediaType})
	}
	return all
}

// Somebody who may do anything, by this way. Answers in another content type than the one asked for fail the test.
func (r route) admin(t *testing.T) *rest.Config {
	t.Helper()
	config := r.as(t, "ADMIN_KUBECONFIG")
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return &strict{t, inner, r.content} })
	return config
}

// The user of a kubeconfig, by this way.
func (r route) as(t *testing.T, kubeconfig string) *rest.Config {
	t.Helper()
	config := load(t, kubeconfig)
	if r.host != "" {
		config.Host = r.host
	}
	config.ContentType = r.content
	config.AcceptContentTypes = r.content
	// No throttle of the client's own.
	config.QPS = -1
	return config
}

// Fails the test where an answer with a value has another content type than the one asked for.
type strict struct {
	t       *testing.T
	inner   http.RoundTripper
	content string
}

func (s *strict) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := s.inner.RoundTrip(request)
	if err == nil && request.Header.Get("Accept") == s.content && response.Header.Get("Content-Type") != s.content {
		s.t.Errorf("%s: asked for %s, found %q", request.URL, s.content, response.Header.Get("Content-Type"))
	}
	return response, err
}

// What kinds the cluster has, as autoscalers know it.
func mapper(t *testing.T) meta.RESTMapper {
	t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(load(t, "ADMIN_KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	return restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))
}

func load(t *testing.T, kubeconfig string) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", fromEnvironment(t, kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func fromEnvironment(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Skipf("%s is not set: the Rust test the_clients_of_client_go_are_answered sets it", name)
	}
	return value
}
