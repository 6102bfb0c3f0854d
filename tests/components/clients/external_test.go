package clients

import (
	"maps"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	external "k8s.io/metrics/pkg/client/external_metrics"
)

func TestExternalMetrics(t *testing.T) {
	for _, route := range routes(t) {
		t.Run(route.name, func(t *testing.T) {
			client, err := external.NewForConfig(route.admin(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, asked := range []struct {
				namespace, metric, selector string
				// By the label `queue`.
				values map[string]string
			}{
				{"default", "queue_length", "", map[string]string{"a.b": "3", "c d": "9", "e": "0"}},
				{"default", "queue_length", "queue in (a.b,e)", map[string]string{"a.b": "3", "e": "0"}},
				{"other", "queue_length", "", map[string]string{"e": "11"}},
				{"default", "queue_length", "queue=none", map[string]string{}},
				{"default", "jobs_waiting", "", map[string]string{"": "42"}},
				{"default", "jobs_scalar", "", map[string]string{"": "42"}},
			} {
				list, err := client.NamespacedMetrics(asked.namespace).List(asked.metric, parse(t, asked.selector))
				if err != nil {
					t.Errorf("%v: %v", asked, err)
					continue
				}
				found := map[string]string{}
				for _, item := range list.Items {
					found[item.MetricLabels["queue"]] = item.Value.String()
					if item.MetricName != asked.metric || item.Timestamp.IsZero() {
						t.Errorf("%v: found %v", asked, item)
					}
				}
				if !maps.Equal(found, asked.values) {
					t.Errorf("%v: found %v", asked, found)
				}
			}
			inDefault := client.NamespacedMetrics("default")
			if _, err := inDefault.List("nosuch", everything); !apierrors.IsNotFound(err) {
				t.Errorf("no such metric: found %v", err)
			}
			if _, err := inDefault.List("queue_length", parse(t, "queue>5")); !apierrors.IsBadRequest(err) {
				t.Errorf("an operator that metrics do not have: found %v", err)
			}
		})
	}
}
