package clients

import (
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	custom "k8s.io/metrics/pkg/client/custom_metrics"
)

var (
	pod        = schema.GroupKind{Kind: "Pod"}
	node       = schema.GroupKind{Kind: "Node"}
	namespace  = schema.GroupKind{Kind: "Namespace"}
	deployment = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	everything = labels.Everything()
)

// Calls a test with each custom metrics client by each route: the one of each version, and the one that chooses.
func eachCustomClient(t *testing.T, test func(*testing.T, custom.CustomMetricsClient)) {
	mapper := mapper(t)
	for _, route := range routes(t) {
		t.Run(route.name, func(t *testing.T) {
			for _, version := range []schema.GroupVersion{v1beta1.SchemeGroupVersion, v1beta2.SchemeGroupVersion} {
				t.Run(version.Version, func(t *testing.T) {
					client, err := custom.NewForVersionForConfig(route.admin(t), mapper, version)
					if err != nil {
						t.Fatal(err)
					}
					test(t, client)
				})
			}
			t.Run("chosen", func(t *testing.T) {
				versions := custom.NewAvailableAPIsGetter(discovery.NewDiscoveryClientForConfigOrDie(route.as(t, "ADMIN_KUBECONFIG")))
				// kube-apiserver prefers the version with the higher versionPriority, the adapter itself the one that upstream
				// lists.
				want := v1beta2.SchemeGroupVersion
				if route.host != "" {
					want = v1beta1.SchemeGroupVersion
				}
				if preferred, err := versions.PreferredVersion(); err != nil || preferred != want {
					t.Errorf("expected %s, found %s: %v", want, preferred, err)
				}
				test(t, custom.NewForConfig(route.admin(t), mapper, versions))
			})
		})
	}
}

func TestCustomMetricsOfOneObject(t *testing.T) {
	eachCustomClient(t, func(t *testing.T, client custom.CustomMetricsClient) {
		inDefault, atTheRoot := client.NamespacedMetrics("default"), client.RootScopedMetrics()
		for _, asked := range []struct {
			of           custom.MetricsInterface
			kind         schema.GroupKind
			name, metric string
			value        string
		}{
			{inDefault, pod, "model-b", "depth", "7500m"},
			{inDefault, deployment, "model-c", "depth", "1234567891m"},
			{inDefault, pod, "model-c", "infinite", "-12500m"},
			{atTheRoot, node, "node1", "node_power_watts", "101"},
			{atTheRoot, namespace, "default", "depth", "411525130m"},
		} {
			found, err := asked.of.GetForObject(asked.kind, asked.name, asked.metric, everything)
			if err != nil {
				t.Errorf("%v: %v", asked, err)
				continue
			}
			object := found.DescribedObject
			if object.Kind != asked.kind.Kind || object.Name != asked.name || found.Metric.Name != asked.metric {
				t.Errorf("%v: found %v", asked, found)
			}
			if found.Value.String() != asked.value {
				t.Errorf("%v: expected %s, found %s", asked, asked.value, found.Value.String())
			}
			if age := time.Since(found.Timestamp.Time); age > time.Minute || age < -time.Minute {
				t.Errorf("%v: %s old", asked, age)
			}
		}
	})
}

func TestCustomMetricsOfManyObjects(t *testing.T) {
	eachCustomClient(t, func(t *testing.T, client custom.CustomMetricsClient) {
		inDefault, atTheRoot := client.NamespacedMetrics("default"), client.RootScopedMetrics()
		for _, asked := range []struct {
			of             custom.MetricsInterface
			kind           schema.GroupKind
			selector       string
			metric         string
			metricSelector string
			names          []string
		}{
			{inDefault, pod, "", "depth", "", []string{"model-a", "model-b", "model-c"}},
			{inDefault, pod, "app=model,tier in (back)", "depth", "", []string{"model-b", "model-c"}},
			{inDefault, pod, "", "depth", "pod in (model-a,model-c)", []string{"model-a", "model-c"}},
			{inDefault, pod, "", "depth", "pod=model-a", []string{"model-a"}},
			{inDefault, deployment, "tier=front", "depth", "", []string{"model-a"}},
			{atTheRoot, node, "", "node_power_watts", "", []string{"node0", "node1"}},
			{atTheRoot, node, "zone=b", "node_power_watts", "", []string{"node1"}},
		} {
			metricSelector := parse(t, asked.metricSelector)
			found, err := asked.of.GetForObjects(asked.kind, parse(t, asked.selector), asked.metric, metricSelector)
			if err != nil {
				t.Errorf("%v: %v", asked, err)
				continue
			}
			var names []string
			for _, item := range found.Items {
				names = append(names, item.DescribedObject.Name)
				repeated, err := metav1.LabelSelectorAsSelector(item.Metric.Selector)
				if asked.metricSelector != "" && (err != nil || repeated.String() != metricSelector.String()) {
					t.Errorf("%v: repeated as %v: %v", asked, item.Metric.Selector, err)
				}
			}
			if !slices.Equal(names, asked.names) {
				t.Errorf("%v: found %v", asked, names)
			}
		}
	})
}

func TestCustomMetricsErrors(t *testing.T) {
	eachCustomClient(t, func(t *testing.T, client custom.CustomMetricsClient) {
		inDefault := client.NamespacedMetrics("default")
		one := func(name, metric, metricSelector string) error {
			_, err := inDefault.GetForObject(pod, name, metric, parse(t, metricSelector))
			return err
		}
		_, nothingSelected := inDefault.GetForObjects(pod, parse(t, "app=none"), "depth", everything)
		_, wrongScope := client.RootScopedMetrics().GetForObject(pod, "model-a", "depth", everything)
		for _, failed := range []struct {
			what string
			err  error
			is   func(error) bool
		}{
			{"no such metric", one("model-a", "nosuch", ""), apierrors.IsNotFound},
			{"no such pod", one("ghost", "depth", ""), apierrors.IsNotFound},
			{"a pod without a sample", one("silent", "depth", ""), apierrors.IsNotFound},
			{"nothing selected", nothingSelected, apierrors.IsNotFound},
			{"a pod outside a namespace", wrongScope, apierrors.IsNotFound},
			{"an operator that metrics do not have", one("model-a", "depth", "pod>5"), apierrors.IsBadRequest},
			{"a query at fault", one("model-a", "broken", ""), apierrors.IsInternalError},
			{"a value that no quantity can hold", one("model-b", "infinite", ""), apierrors.IsInternalError},
		} {
			if failed.err == nil || !failed.is(failed.err) {
				t.Errorf("%s: found %v", failed.what, failed.err)
			}
		}
	})
}

func parse(t *testing.T, selector string) labels.Selector {
	t.Helper()
	parsed, err := labels.Parse(selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
