//! The kinds that Kubernetes itself serves.

use super::Kind;

/// The core group first, then the others in the order in which a cluster prefers them.
pub(super) fn kinds() -> Vec<Kind> {
    KINDS
        .iter()
        .flat_map(|(group, version, kinds)| {
            kinds.iter().map(move |(kind, plural, namespaced)| Kind {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
                kind: (*kind).to_owned(),
                plural: (*plural).to_owned(),
                singular: kind.to_lowercase(),
                namespaced: *namespaced,
            })
        })
        .collect()
}

type Resources = &'static [(&'static str, &'static str, bool)];

const KINDS: &[(&str, &str, Resources)] = &[
    (
        "",
        "v1",
        &[
            ("ComponentStatus", "componentstatuses", false),
            ("ConfigMap", "configmaps", true),
            ("Endpoints", "endpoints", true),
            ("Event", "events", true),
            ("LimitRange", "limitranges", true),
            ("Namespace", "namespaces", false),
            ("Node", "nodes", false),
            ("PersistentVolume", "persistentvolumes", false),
            ("PersistentVolumeClaim", "persistentvolumeclaims", true),
            ("Pod", "pods", true),
            ("PodTemplate", "podtemplates", true),
            ("ReplicationController", "replicationcontrollers", true),
            ("ResourceQuota", "resourcequotas", true),
            ("Secret", "secrets", true),
            ("Service", "services", true),
            ("ServiceAccount", "serviceaccounts", true),
        ],
    ),
    ("apiregistration.k8s.io", "v1", &[("APIService", "apiservices", false)]),
    (
        "apps",
        "v1",
        &[
            ("ControllerRevision", "controllerrevisions", true),
            ("DaemonSet", "daemonsets", true),
            ("Deployment", "deployments", true),
            ("ReplicaSet", "replicasets", true),
            ("StatefulSet", "statefulsets", true),
        ],
    ),
    ("events.k8s.io", "v1", &[("Event", "events", true)]),
    ("autoscaling", "v2", &[("HorizontalPodAutoscaler", "horizontalpodautoscalers", true)]),
    ("batch", "v1", &[("CronJob", "cronjobs", true), ("Job", "jobs", true)]),
    ("certificates.k8s.io", "v1", &[("CertificateSigningRequest", "certificatesigningrequests", false)]),
    (
        "networking.k8s.io",
        "v1",
        &[
            ("Ingress", "ingresses", true),
            ("IngressClass", "ingressclasses", false),
            ("IPAddress", "ipaddresses", false),
            ("NetworkPolicy", "networkpolicies", true),
            ("ServiceCIDR", "servicecidrs", false),
        ],
    ),
    ("policy", "v1", &[("PodDisruptionBudget", "poddisruptionbudgets", true)]),
    (
        "rbac.authorization.k8s.io",
        "v1",
        &[
            ("ClusterRole", "clusterroles", false),
            ("ClusterRoleBinding", "clusterrolebindings", false),
            ("Role", "roles", true),
            ("RoleBinding", "rolebindings", true),
        ],
    ),
    (
        "storage.k8s.io",
        "v1",
        &[
            ("CSIDriver", "csidrivers", false),
            ("CSINode", "csinodes", false),
            ("CSIStorageCapacity", "csistoragecapacities", true),
            ("StorageClass", "storageclasses", false),
            ("VolumeAttachment", "volumeattachments", false),
            ("VolumeAttributesClass", "volumeattributesclasses", false),
        ],
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        &[
            ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", false),
            ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", false),
            ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false),
            ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", false),
        ],
    ),
    ("apiextensions.k8s.io", "v1", &[("CustomResourceDefinition", "customresourcedefinitions", false)]),
    ("scheduling.k8s.io", "v1", &[("PriorityClass", "priorityclasses", false)]),
    ("coordination.k8s.io", "v1", &[("Lease", "leases", true)]),
    ("node.k8s.io", "v1", &[("RuntimeClass", "runtimeclasses", false)]),
    ("discovery.k8s.io", "v1", &[("EndpointSlice", "endpointslices", true)]),
    (
        "flowcontrol.apiserver.k8s.io",
        "v1",
        &[
            ("FlowSchema", "flowschemas", false),
            ("PriorityLevelConfiguration", "prioritylevelconfigurations", false),
        ],
    ),
    (
        "resource.k8s.io",
        "v1",
        &[
            ("DeviceClass", "deviceclasses", false),
            ("ResourceClaim", "resourceclaims", true),
            ("ResourceClaimTemplate", "resourceclaimtemplates", true),
            ("ResourceSlice", "resourceslices", false),
        ],
    ),
];
