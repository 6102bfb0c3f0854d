//! What a kubelet would do for the pods of a test: a model server for each of them on loopback, marked as running and
//! ready, and named to Prometheus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::prometheus::{ScrapeTarget, write_targets};
use crate::{Failure, stack};

/// Runs pods until dropped.
pub struct Kubelet {
    task: JoinHandle<()>,
    running: Running,
}

/// Programs by the name of their pod.
type Running = Arc<Mutex<BTreeMap<String, stack::Pod>>>;

/// Which pods, and how they run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace of the pods.
    pub namespace: String,
    /// The value of their label `app`.
    pub app: &'static str,
    /// Arguments of each model server.
    pub arguments: Vec<String>,
    /// Where Prometheus reads its targets.
    pub targets_file: PathBuf,
    /// Targets besides the pods.
    pub other_targets: Vec<ScrapeTarget>,
}

impl Kubelet {
    /// Starts to run pods.
    pub fn start(client: &kube::Client, settings: Settings, dir: &Path) -> Kubelet {
        let running = Running::default();
        let pods = Api::namespaced(client.clone(), &settings.namespace);
        let (shared, dir) = (Arc::clone(&running), dir.to_owned());
        let task = tokio::spawn(async move {
            loop {
                // The API server may be away for a while: tests stop it.
                if let Err(error) = tend(&pods, &settings, &shared, &dir).await {
                    eprintln!("pods are not tended: {error}");
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Kubelet { task, running }
    }

    /// Where the model servers listen.
    pub fn addresses(&self) -> Vec<String> {
        self.follow_addresses()()
    }

    /// Says at any later time where the model servers listen.
    pub fn follow_addresses(&self) -> impl Fn() -> Vec<String> + Send + Sync + 'static {
        let running = Arc::clone(&self.running);
        move || {
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.values().map(|pod| pod.address.clone()).collect()
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tend(pods: &Api<Pod>, settings: &Settings, running: &Running, dir: &Path) -> Result<(), Failure> {
    let lock = || running.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = pods.list(&ListParams::default().labels(&format!("app={}", settings.app))).await?;
    let names: Vec<String> = wanted
        .items
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| pod.metadata.name.clone())
        .collect();
    let before: Vec<String> = lock().keys().cloned().collect();
    lock().retain(|name, _| names.contains(name));
    for name in names.iter().filter(|name| !before.contains(name)) {
        let pod = stack::start_pod(name, &settings.arguments, dir).await?;
        let status = json!({"status": {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        // Not before: one that could not be marked is started again.
        lock().insert(name.clone(), pod);
    }
    let now: Vec<String> = lock().keys().cloned().collect();
    if now != before || !settings.targets_file.exists() {
        let mut targets = settings.other_targets.clone();
        targets.extend(lock().values().map(|pod| target(&settings.namespace, settings.app, pod)));
        write_targets(&settings.targets_file, &targets)?;
    }
    Ok(())
}

/// A pod as Prometheus scrapes it, with the labels that its operator would give.
pub fn target(namespace: &str, app: &str, pod: &stack::Pod) -> ScrapeTarget {
    let labels = [("namespace", namespace), ("pod", &pod.name), ("app", app), ("service", app)];
    ScrapeTarget {
        address: pod.address.clone(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    }
}

const INTERVAL: Duration = Duration::from_millis(200);
