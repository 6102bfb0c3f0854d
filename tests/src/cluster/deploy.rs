//! The manifests of `deploy/` as they are shipped, but for what a cluster without our images and without a way to a
//! pod's network needs.

use serde_json::{Value, json};

use super::Cluster;
use crate::{Failure, stack};

impl Cluster {
    /// Makes the adapter's namespace and applies a folder of `deploy/` as it is shipped, but for this: the Service
    /// leads to a port of this machine, and what is in a namespace goes into the test's. In a cluster with nodes, no
    /// scheduler takes the pods: tests stand for the kubelet.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn deploy(&self, folder: &str, port: u16) -> Result<(), Failure> {
        let crd = stack::repository().join("tests/manifests/servicemonitor-crd.yaml");
        self.kubectl(&["apply", "--server-side", "-f", &crd.display().to_string()])?;
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "servicemonitors.monitoring.coreos.com",
        ])?;
        let folder = stack::repository().join("deploy").join(folder).display().to_string();
        let rendered = self.kubectl(&["kustomize", &folder])?;
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.namespaces.adapter},
        });
        let mut objects = vec![namespace];
        for document in rendered.split("\n---\n") {
            let mut object: Value = serde_saphyr::from_str(document)?;
            self.edit(&mut object, port);
            objects.push(object);
        }
        let file = self.dir.path().join("deployed.json");
        std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file.display().to_string()])
            .map(drop)
    }

    fn edit(&self, object: &mut Value, port: u16) {
        let (workloads, adapter) = (&self.namespaces.workloads, &self.namespaces.adapter);
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        match (object["metadata"]["namespace"].as_str(), kind.as_str()) {
            (Some(MONITORING), _) => object["metadata"]["namespace"] = json!(adapter),
            (None, "ClusterRole" | "ClusterRoleBinding" | "APIService" | "CustomResourceDefinition")
            | (Some(_), _) => {}
            (None, _) => object["metadata"]["namespace"] = json!(workloads),
        }
        let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
        for subject in subjects.into_iter().flatten() {
            if subject["namespace"] == MONITORING {
                subject["namespace"] = json!(adapter);
            }
        }
        match kind.as_str() {
            "Service" if object["metadata"]["name"] == "adapter" => {
                let host = self.host();
                object["spec"] =
                    json!({"type": "ExternalName", "externalName": host, "ports": [{"port": port}]});
            }
            "APIService" => {
                object["spec"]["service"] = json!({"name": "adapter", "namespace": adapter, "port": port});
            }
            "Deployment" if self.control_plane.is_none() => {
                object["spec"]["template"]["spec"]["schedulerName"] = json!("nobody");
            }
            _ => {}
        }
    }
}

/// The namespace of the adapter in the manifests.
const MONITORING: &str = "monitoring";
