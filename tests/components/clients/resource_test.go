package clients

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
)

func TestResourceMetrics(t *testing.T) {
	for _, route := range routes(t) {
		t.Run(route.name, func(t *testing.T) {
			client, err := metrics.NewForConfig(route.admin(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Run("pods", func(t *testing.T) { podMetrics(t, client) })
			t.Run("nodes", func(t *testing.T) { nodeMetrics(t, client) })
		})
	}
}

func podMetrics(t *testing.T, client metrics.PodMetricsesGetter) {
	ctx := t.Context()
	for _, asked := range []struct {
		namespace string
		options   metav1.ListOptions
		names     []string
	}{
		{"default", metav1.ListOptions{}, []string{"model-a", "model-b", "model-c"}},
		{"", metav1.ListOptions{}, []string{"model-a", "model-b", "model-c"}},
		{"default", metav1.ListOptions{LabelSelector: "tier=back"}, []string{"model-b", "model-c"}},
		{"default", metav1.ListOptions{FieldSelector: "metadata.name=model-a"}, []string{"model-a"}},
		{"other", metav1.ListOptions{}, nil},
	} {
		list, err := client.PodMetricses(asked.namespace).List(ctx, asked.options)
		if err != nil {
			t.Errorf("%v: %v", asked, err)
			continue
		}
		var names []string
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
		if !slices.Equal(names, asked.names) {
			t.Errorf("%v: found %v", asked, names)
		}
	}
	one, err := client.PodMetricses("default").Get(ctx, "model-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if one.Labels["tier"] != "front" || one.Window.Duration == 0 || one.Timestamp.IsZero() || len(one.Containers) != 2 {
		t.Fatalf("found %v", one)
	}
	for index, expected := range []struct{ name, memory string }{{"app", "3500k"}, {"sidecar", "3250k"}} {
		container := one.Containers[index]
		memory := container.Usage[corev1.ResourceMemory]
		if container.Name != expected.name || memory.Value() != parseQuantity(t, expected.memory) {
			t.Errorf("expected %v, found %v", expected, container)
		}
		if cpu := container.Usage[corev1.ResourceCPU]; cpu.IsZero() {
			t.Errorf("%s: no use of CPU", container.Name)
		}
	}
	for _, name := range []string{"ghost", "silent"} {
		if _, err := client.PodMetricses("default").Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s: found %v", name, err)
		}
	}
	if _, err := client.PodMetricses("default").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=x"}); !apierrors.IsBadRequest(err) {
		t.Errorf("an unknown field: found %v", err)
	}
	if _, err := client.PodMetricses("default").Watch(ctx, metav1.ListOptions{}); !apierrors.IsMethodNotSupported(err) {
		t.Errorf("a watch: found %v", err)
	}
}

func nodeMetrics(t *testing.T, client metrics.NodeMetricsesGetter) {
	ctx := t.Context()
	list, err := client.NodeMetricses().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for index, memory := range []string{"5G", "5000000001"} {
		if len(list.Items) != 2 {
			t.Fatalf("found %v", list.Items)
		}
		found := list.Items[index].Usage[corev1.ResourceMemory]
		if found.Value() != parseQuantity(t, memory) {
			t.Errorf("%s: expected %s, found %v", list.Items[index].Name, memory, found.String())
		}
	}
	one, err := client.NodeMetricses().Get(ctx, "node1", metav1.GetOptions{})
	if err != nil || one.Labels["zone"] != "b" {
		t.Errorf("found %v: %v", one, err)
	}
	if _, err := client.NodeMetricses().Get(ctx, "ghost", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("no such node: found %v", err)
	}
}
