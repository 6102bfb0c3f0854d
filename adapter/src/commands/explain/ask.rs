//! Asks for explanations, and says why there is none.

use serde::Deserialize as _;

use super::super::asked::AskedError;
use super::super::client::{Client, ClientError};
use crate::explanation::Explanation;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// kube-apiserver, or the adapter, answers with an error.
    #[error("{message}{hint}")]
    Refused { message: String, hint: String },
    /// Another server has the API.
    #[error(
        "expected an explanation, found {0}: the server of this API does not know explain=json; is it prometheus-adapter?"
    )]
    NotExplained(String),
    #[error(transparent)]
    Asked(#[from] AskedError),
    #[error("cannot write the explanation")]
    Write(#[source] serde_json::Error),
}

/// Whether a metric has a value.
pub(super) fn has_value(explanation: &Explanation) -> bool {
    explanation.answer.code == 200 && explanation.answer.values > 0
}

/// The explanation of a path.
pub(super) async fn one(client: &Client, path: &str) -> Result<Explanation, ExplainError> {
    let join = if path.contains('?') { '&' } else { '?' };
    let answer = client.get(&format!("{path}{join}explain=json")).await?;
    if answer.code != 200 {
        let hint = hint(client, path, answer.code).await;
        return Err(ExplainError::Refused { message: answer.message(), hint });
    }
    let tree: serde_json::Value = serde_json::from_slice(&answer.body)
        .map_err(|error| ExplainError::NotExplained(format!("no JSON ({error})")))?;
    if let Some(kind) = tree["kind"].as_str() {
        return Err(ExplainError::NotExplained(format!("a {kind}")));
    }
    Explanation::deserialize(tree)
        .map_err(|error| ExplainError::NotExplained(format!("other JSON ({error})")))
}

/// Whether the API leads to a server at all, where that may be why it is refused.
async fn hint(client: &Client, path: &str, code: u16) -> String {
    if !matches!(code, 404 | 503) {
        return String::new();
    }
    let [_, _, group, version, ..] = path.split('/').collect::<Vec<_>>()[..] else { return String::new() };
    let name = format!("{version}.{group}");
    let service: Result<serde_json::Value, ClientError> =
        client.object(&format!("/apis/apiregistration.k8s.io/v1/apiservices/{name}")).await;
    match service {
        Err(ClientError::Status { code: 404, .. }) => {
            format!("; the APIService {name} does not exist: no server is registered for this API")
        }
        Err(_) => String::new(),
        Ok(service) => {
            let conditions = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let available = conditions.iter().find(|condition| condition["type"] == "Available");
            match available {
                Some(condition) if condition["status"] != "True" => {
                    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
                    format!(
                        "; the APIService {name} is not available: {}: {}",
                        text("reason"),
                        text("message")
                    )
                }
                _ => String::new(),
            }
        }
    }
}
