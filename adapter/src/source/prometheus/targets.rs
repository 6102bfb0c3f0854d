//! The answer to `/api/v1/targets`: of each target only what an explanation shows.

use reqwest::StatusCode;
use serde::Deserialize;

use super::answer::check;
use super::failure::{failure, no_answer, unavailable};
use crate::source::SourceError;
use crate::source::targets::{Health, ScrapedTarget};

/// The targets in the body of an answer with this status.
///
/// # Errors
/// The body is an error, or none of Prometheus'.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Vec<ScrapedTarget>, SourceError> {
    if !status.is_success() {
        return Err(failure(status, body));
    }
    let frame: Frame = serde_json::from_slice(body).map_err(|error| no_answer(&error, body))?;
    check(frame.status.as_deref(), status, body)?;
    let data = frame.data.ok_or_else(|| unavailable("the answer of Prometheus has no data".to_owned()))?;
    Ok(data.active_targets.unwrap_or_default().into_iter().map(Target::scraped).collect())
}

#[derive(Deserialize)]
struct Frame {
    status: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    active_targets: Option<Vec<Target>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Target {
    discovered_labels: Discovered,
    labels: Labels,
    health: String,
    last_error: String,
}

/// What Kubernetes says of it, whatever relabelling makes of that.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Discovered {
    #[serde(rename = "__meta_kubernetes_namespace")]
    namespace: Option<String>,
    #[serde(rename = "__meta_kubernetes_pod_name")]
    pod: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Labels {
    namespace: Option<String>,
    pod: Option<String>,
}

impl Target {
    fn scraped(self) -> ScrapedTarget {
        let Target { discovered_labels, labels, health, last_error } = self;
        ScrapedTarget {
            namespace: discovered_labels.namespace.or(labels.namespace),
            pod: discovered_labels.pod.or(labels.pod),
            health: match health.as_str() {
                "up" => Health::Up,
                "down" => Health::Down,
                _ => Health::Unknown,
            },
            last_error: Some(last_error).filter(|error| !error.is_empty()),
        }
    }
}
