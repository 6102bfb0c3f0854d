//! What autoscalers ask, with their selectors.

use std::path::{Path, PathBuf};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde::Deserialize;
use serde_json::Value;
use serve::{error_chain, files};

use super::super::ask::{DiffError, Pair};
use super::super::report::Report;
use crate::commands::asked::{self, path};
use crate::commands::client::Client;

/// The paths of the autoscalers of the cluster, in these namespaces if there are some.
pub(super) async fn of_cluster(
    pair: &Pair,
    namespaces: &[String],
    report: &mut Report,
) -> Result<Vec<String>, DiffError> {
    let [first, second] = pair.of_cluster();
    let (client, mut list): (_, List) = match first.object(AUTOSCALERS).await {
        Ok(list) => (first, list),
        Err(error) => (second, second.object(AUTOSCALERS).await.map_err(|_| DiffError::Autoscalers(error))?),
    };
    let is_asked = |autoscaler: &HorizontalPodAutoscaler| {
        autoscaler.metadata.namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace))
    };
    list.items.retain(|autoscaler| namespaces.is_empty() || is_asked(autoscaler));
    Ok(paths(client, &list.items, "default", true, report).await)
}

/// The paths of the autoscalers in files; of one without a namespace, in the first that is asked about.
pub(super) async fn of_files(
    pair: &Pair,
    files: &[PathBuf],
    namespaces: &[String],
    report: &mut Report,
) -> Result<Vec<String>, DiffError> {
    let [client, _] = pair.of_cluster();
    let namespace = namespaces.first().map_or_else(|| client.namespace(), String::as_str);
    let mut all = Vec::new();
    for file in files {
        all.extend(paths(client, &read(file)?, namespace, pair.knows_kinds(), report).await);
    }
    Ok(all)
}

#[derive(Deserialize)]
struct List {
    items: Vec<HorizontalPodAutoscaler>,
}

async fn paths(
    client: &Client,
    autoscalers: &[HorizontalPodAutoscaler],
    namespace: &str,
    knows_kinds: bool,
    report: &mut Report,
) -> Vec<String> {
    let mut found = Vec::new();
    for autoscaler in autoscalers {
        let Some(spec) = &autoscaler.spec else { continue };
        let namespace = autoscaler.metadata.namespace.as_deref().unwrap_or(namespace);
        for metric in spec.metrics.iter().flatten() {
            match asked::of_metric(client, namespace, spec, metric).await {
                Ok(Some((metric, _))) => found.push(path(namespace, &metric)),
                Ok(None) => {}
                Err(error) => report.notes.push(format!(
                    "not asked for: {} of the autoscaler {namespace}/{}: {}",
                    asked::name_of(metric),
                    autoscaler.metadata.name.as_deref().unwrap_or_default(),
                    if knows_kinds {
                        error_chain(&error)
                    } else {
                        "expected a kubeconfig for one of the servers, found two URLs".to_owned()
                    }
                )),
            }
        }
    }
    found
}

/// The autoscalers of a file: documents, or lists of them as kubectl prints.
fn read(file: &Path) -> Result<Vec<HorizontalPodAutoscaler>, DiffError> {
    let path = file.display().to_string();
    let text = files::read_text(file, LARGEST_FILE)
        .map_err(|cause| DiffError::Read { path: path.clone(), cause })?;
    let other = |found: String| DiffError::NotAutoscalers { path: path.clone(), found };
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .map_err(|error| other(error.to_string().lines().next().unwrap_or_default().to_owned()))?;
    let objects = documents.into_iter().flat_map(|document| match document["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![document],
    });
    let mut kinds = Vec::new();
    let mut found = Vec::new();
    for object in objects {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        if (text("apiVersion"), text("kind")) == ("autoscaling/v2", "HorizontalPodAutoscaler") {
            found.push(serde_json::from_value(object).map_err(|error| other(error.to_string()))?);
        } else {
            kinds.push(format!("{} of {}", text("kind"), text("apiVersion")));
        }
    }
    if found.is_empty() {
        kinds.truncate(MOST_KINDS);
        return Err(other(if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") }));
    }
    Ok(found)
}

const AUTOSCALERS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";
/// In bytes.
const LARGEST_FILE: usize = 4 << 20;
/// That an error names.
const MOST_KINDS: usize = 5;
