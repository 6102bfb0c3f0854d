//! `adapter explain`: asks the adapter of a cluster, through kube-apiserver, why a metric has its value or none.

mod ask;
mod hpa;

use std::process::ExitCode;

use serde::Serialize;
use serve::error_chain;

use self::ask::{ExplainError, has_value, one};
use self::hpa::HpaExplanation;
use super::asked::path;
use super::client::Client;
use super::exit_status::{CANNOT_ASK, NO_VALUE};
use super::output::print;
use super::runtime::block_on;
use crate::config::{Explain, ExplainWhat, Output};

/// Prints an explanation; the exit status says whether there is a value.
pub(super) fn run(explain: &Explain) -> ExitCode {
    let outcome = block_on(explained(explain)).map_err(|error| error_chain(&error));
    match outcome.and_then(|explained| explained.map_err(|error| error_chain(&error))) {
        Ok((text, true)) => print(&text),
        Ok((text, false)) => match print(&text) {
            ExitCode::SUCCESS => ExitCode::from(NO_VALUE),
            failed => failed,
        },
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(CANNOT_ASK)
        }
    }
}

/// The text to print, and whether there is a value.
async fn explained(explain: &Explain) -> Result<(String, bool), ExplainError> {
    let client = Client::new(&explain.access).await?;
    let namespace = explain.namespace.as_deref().unwrap_or_else(|| client.namespace()).to_owned();
    match &explain.what {
        ExplainWhat::Metric(metric) => {
            let explanation = one(&client, &path(&namespace, metric)).await?;
            let has_value = has_value(&explanation);
            Ok((written(&explanation, explain.output)?, has_value))
        }
        ExplainWhat::Hpa { name, metric } => {
            let explanation = hpa::explain(&client, &namespace, name, metric.as_deref()).await?;
            let has_value = explanation.has_values();
            Ok((written::<HpaExplanation>(&explanation, explain.output)?, has_value))
        }
    }
}

fn written<T: Serialize + ToString>(explanation: &T, output: Output) -> Result<String, ExplainError> {
    match output {
        Output::Text => Ok(explanation.to_string()),
        Output::Json => {
            let text = serde_json::to_string_pretty(explanation).map_err(ExplainError::Write)?;
            Ok(format!("{text}\n"))
        }
    }
}
