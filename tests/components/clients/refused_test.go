package clients

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	custom "k8s.io/metrics/pkg/client/custom_metrics"
	external "k8s.io/metrics/pkg/client/external_metrics"
)

func TestWhoIsRefused(t *testing.T) {
	for _, route := range routes(t) {
		t.Run(route.name, func(t *testing.T) {
			withoutRights := route.as(t, "UNOWNED_KUBECONFIG")
			badToken := rest.CopyConfig(withoutRights)
			badToken.BearerToken = "no-such-token"
			for _, caller := range []struct {
				what   string
				config *rest.Config
				is     func(error) bool
			}{
				{"without rights", withoutRights, apierrors.IsForbidden},
				{"anonymous", rest.AnonymousClientConfig(withoutRights), apierrors.IsForbidden},
				{"with a bad token", badToken, apierrors.IsUnauthorized},
			} {
				for api, err := range askAll(t, caller.config) {
					if err == nil || !caller.is(err) {
						t.Errorf("%s, %s: found %v", caller.what, api, err)
					}
				}
			}
		})
	}
}

// For a server that has no room. client-go asks ten times, a second apart, before it gives up.
func TestTooManyRequests(t *testing.T) {
	for _, route := range routes(t) {
		t.Run(route.name, func(t *testing.T) {
			t.Parallel()
			client, err := custom.NewForVersionForConfig(route.as(t, "READER_KUBECONFIG"), mapper(t), v1beta2.SchemeGroupVersion)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.NamespacedMetrics("default").GetForObject(pod, "model-a", "depth", everything)
			if !apierrors.IsTooManyRequests(err) {
				t.Errorf("found %v", err)
			}
			if seconds, suggested := apierrors.SuggestsClientDelay(err); !suggested || seconds != 1 {
				t.Errorf("expected a delay of 1 s, found %d", seconds)
			}
		})
	}
}

// What each API answers, by its name.
func askAll(t *testing.T, config *rest.Config) map[string]error {
	t.Helper()
	customClient, err := custom.NewForVersionForConfig(config, mapper(t), v1beta2.SchemeGroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	externalClient, err := external.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	resourceClient, err := metrics.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]error{}
	_, answers["custom"] = customClient.NamespacedMetrics("default").GetForObject(pod, "model-a", "depth", everything)
	_, answers["external"] = externalClient.NamespacedMetrics("default").List("queue_length", everything)
	_, answers["resource"] = resourceClient.PodMetricses("default").List(t.Context(), metav1.ListOptions{})
	return answers
}

func parseQuantity(t *testing.T, text string) int64 {
	t.Helper()
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		t.Fatal(err)
	}
	return quantity.Value()
}
