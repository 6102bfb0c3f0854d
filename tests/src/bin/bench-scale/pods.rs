//! Pods as a kube-apiserver shows their metadata: 2.6 kB each, most of it `managedFields`.

use std::fmt::Write as _;

/// Pods of Deployments, spread over namespaces. They differ in name, Deployment and resource version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pods {
    pub(crate) count: usize,
    pub(crate) namespaces: usize,
}

/// The place of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) namespace: usize,
    /// Within the namespace.
    number: usize,
}

impl Pods {
    pub(crate) fn none() -> Pods {
        Pods { count: 0, namespaces: 1 }
    }

    /// Pods of a namespace: they differ by one at most.
    pub(crate) fn of_namespace(self, namespace: usize) -> usize {
        self.count / self.namespaces + usize::from(namespace < self.count % self.namespaces)
    }

    /// All of them, in the order in which a kube-apiserver lists them.
    pub(crate) fn places(self) -> impl Iterator<Item = Place> + Send {
        (0..self.namespaces).flat_map(move |namespace| self.of(namespace))
    }

    /// Those of one namespace.
    pub(crate) fn of(self, namespace: usize) -> impl Iterator<Item = Place> + Send {
        (0..self.of_namespace(namespace)).map(move |number| Place { namespace, number })
    }

    /// Those of one Deployment.
    pub(crate) fn of_deployment(self, namespace: usize, deployment: usize) -> impl Iterator<Item = Place> {
        let pods = self.of_namespace(namespace);
        let first = deployment * REPLICAS;
        (first..(first + REPLICAS).min(pods)).map(move |number| Place { namespace, number })
    }

    pub(crate) fn deployments(self, namespace: usize) -> usize {
        self.of_namespace(namespace).div_ceil(REPLICAS)
    }
}

impl Place {
    pub(crate) fn name(self) -> String {
        let deployment = self.number / REPLICAS;
        format!("{}-{}-{:05}", app(deployment), template_hash(deployment), self.number)
    }

    /// The label `app`.
    pub(crate) fn app(self) -> String {
        app(self.number / REPLICAS)
    }

    /// Appends the pod as a `PartialObjectMetadata`.
    pub(crate) fn write(self, out: &mut String) {
        let Place { namespace, number } = self;
        let deployment = number / REPLICAS;
        let (app, hash) = (app(deployment), template_hash(deployment));
        let version = VERSION + (namespace * 1_000_000 + number) as u64;
        // A String takes everything.
        let _ = write!(
            out,
            r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{"name":"{app}-{hash}-{number:05}","generateName":"{app}-{hash}-","namespace":"{}","uid":"5b1c6d0e-7a52-4b0e-{namespace:04x}-{number:012x}","resourceVersion":"{version}","creationTimestamp":"2026-11-20T08:15:30Z","labels":{{"app":"{app}","app.kubernetes.io/managed-by":"Helm","pod-template-hash":"{hash}","team":"team-{}","tier":"web"}},"annotations":{{"prometheus.io/port":"8080","prometheus.io/scrape":"true"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"{app}-{hash}","uid":"6c8fbf1a-2b2e-4c3a-9f7e-{deployment:012x}","controller":true,"blockOwnerDeletion":true}}],"managedFields":{MANAGED_FIELDS}}}}}"#,
            namespace_name(namespace),
            deployment % 20,
        );
    }
}

pub(crate) fn namespace_name(namespace: usize) -> String {
    format!("team-{namespace:04}")
}

pub(crate) fn app(deployment: usize) -> String {
    format!("app-{deployment:05}")
}

/// As long as a ReplicaSet's, and of each Deployment another.
fn template_hash(deployment: usize) -> String {
    format!("{:010x}", (deployment as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24)
}

/// Of each Deployment.
pub(crate) const REPLICAS: usize = 10;
/// The resource version of the whole list.
pub(crate) const VERSION: u64 = 4_000_000_000;
/// What kube-controller-manager and a kubelet own of a pod with one container.
const MANAGED_FIELDS: &str = r#"[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-11-20T08:15:30Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:prometheus.io/port":{},"f:prometheus.io/scrape":{}},"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/managed-by":{},"f:pod-template-hash":{},"f:team":{},"f:tier":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"6c8fbf1a-2b2e-4c3a-9f7e-0a1b2c3d4e5f\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"LOG_LEVEL\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{},"f:successThreshold":{},"f:timeoutSeconds":{}},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},"f:resources":{".":{},"f:limits":{".":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}},{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2026-11-20T08:15:36Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}},"f:startTime":{}}},"subresource":"status"}]"#;
