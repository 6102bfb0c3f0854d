//! The model server under the tutorial's own load.

use std::process::Command;

use e2e::component::{component, left_out};
use e2e::{Failure, stack};
use testkit::rows::each_row;

const REQUESTS: usize = 5000;

#[tokio::test]
async fn hey_is_answered_and_each_of_its_requests_counted() -> Result<(), Failure> {
    let Some(hey) = component("hey") else { return left_out("hey") };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir()?;
    let pods = stack::start_pods(1, &[], dir.path()).await?;
    let server = format!("http://{}", pods[0].address);
    // As in the tutorial, but for a number of requests instead of a time.
    let output = Command::new(hey)
        .args(["-n", &REQUESTS.to_string(), "-c", "50", "-m", "POST", "-H", "Content-Type: application/json"])
        .args(["-d", r#"{"features": [0.1, 0.2, 0.3, 0.4, 0.5]}"#, &format!("{server}/predict")])
        .output()?;
    let summary = String::from_utf8(output.stdout)?;
    assert!(summary.contains(&format!("[200]\t{REQUESTS} responses")), "{summary}");
    assert!(!summary.contains("Error distribution"), "{summary}");
    let metrics = reqwest::get(format!("{server}/metrics")).await?.text().await?;
    each_row(
        [format!("inference_latency_seconds_count {REQUESTS}"), "request_queue_depth 0".to_owned()],
        |line| {
            assert!(metrics.lines().any(|found| found == line), "no {line:?} in\n{metrics}");
        },
    );
    Ok(())
}
