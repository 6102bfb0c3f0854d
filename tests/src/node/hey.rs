//! The tutorial's load generator, inside the cluster and outside.

use std::process::Command;

use serde_json::json;

use super::Node;
use crate::Failure;
use crate::component::required;
use crate::load::BODY;
use crate::process::run;

/// What a run of hey counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Requests answered by 200.
    pub answered: u64,
    /// Others, and those without an answer.
    pub failed: u64,
}

impl Node {
    /// Starts clients in the cluster that ask a URL without end, as a Job of the namespace `default`. They open a
    /// connection for each request, so that the Service chooses a pod each time.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn start_load(&self, name: &str, clients: usize, duration: &str, url: &str) -> Result<(), Failure> {
        let (clients, body) = (clients.to_string(), BODY);
        let arguments =
            ["-z", duration, "-c", &clients, "-disable-keepalive", "-m", "POST", "-T", JSON, "-d", body, url];
        let container = json!({"name": "hey", "image": "e2e/hey:1", "args": arguments});
        self.apply(&json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
        }))
    }

    /// Ends clients in the cluster as Control-C does, and gives what they counted.
    ///
    /// # Errors
    /// They ended early, or their summary is not one.
    pub fn stop_load(&self, name: &str) -> Result<Summary, Failure> {
        let selector = format!("job-name={name}");
        let uid =
            self.cluster.kubectl(&["get", "pod", "-l", &selector, "-o=jsonpath={.items[0].metadata.uid}"])?;
        self.signal(&uid, "hey", "INT")?;
        let job = format!("job/{name}");
        self.cluster.kubectl(&["wait", "--for=condition=Complete", &job, "--timeout=60s"])?;
        let text = self.cluster.kubectl(&["logs", &job, "--tail=-1"])?;
        self.cluster.kubectl(&["delete", &job, "--wait=false"])?;
        summary(&text)
    }
}

/// Starts clients outside the cluster.
///
/// # Errors
/// hey is missing.
pub fn outside(requests: usize, clients: usize, url: &str) -> Result<Summary, Failure> {
    let mut command = Command::new(required("hey")?);
    command.args(["-n", &requests.to_string(), "-c", &clients.to_string()]);
    command.args(["-m", "POST", "-T", JSON, "-d", BODY, url]);
    summary(&run(&mut command)?)
}

/// Reads hey's summary: a table of codes, and one of errors if there were any.
fn summary(text: &str) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    for line in text.lines() {
        let Some((label, rest)) = line.trim().strip_prefix('[').and_then(|line| line.split_once(']')) else {
            continue;
        };
        let count: u64 = if rest.ends_with("responses") {
            rest.trim().trim_end_matches("responses").trim().parse()?
        } else {
            label.parse()?
        };
        if label == "200" && rest.ends_with("responses") {
            summary.answered += count;
        } else {
            summary.failed += count;
        }
    }
    if summary.answered + summary.failed == 0 {
        return Err(format!("expected a summary of hey, found {text:?}").into());
    }
    Ok(summary)
}

const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_codes_and_errors() -> Result<(), Failure> {
        let text = "Status code distribution:\n  [200]\t120 responses\n  [503]\t2 responses\n\n\
                    Error distribution:\n  [3]\tPost \"http://x/predict\": EOF\n";
        let summary = summary(text)?;
        assert_eq!((summary.answered, summary.failed), (120, 5));
        assert!(super::summary("flag provided but not defined").is_err());
        Ok(())
    }
}
