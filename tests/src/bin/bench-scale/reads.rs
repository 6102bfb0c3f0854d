//! An autoscaler's reads, and how long they wait.

use std::time::{Duration, Instant};

use e2e::Failure;
use e2e::hpa::METRICS;
use reqwest::Client;
use tokio::task::JoinSet;

use crate::pods::{Pods, app, namespace_name};

/// Paths to read, by their number.
pub(crate) type Path = fn(Pods, usize) -> String;

/// The pods of one Deployment, as an autoscaler of it asks for their first metric.
pub(crate) fn pods_of_deployment(pods: Pods, number: usize) -> String {
    let namespace = number % pods.namespaces;
    // A step that shares no factor with the number of Deployments visits all of them.
    let deployment = number.wrapping_mul(7919) % pods.deployments(namespace).max(1);
    metric_of_deployment(namespace, deployment, METRICS[0])
}

/// What a number of autoscalers read in one period: each two metrics of its own Deployment, spread evenly over the
/// namespaces.
pub(crate) fn period(autoscalers: usize, namespaces: usize, metrics: &[&str]) -> Vec<String> {
    let of = |number: usize| {
        let read =
            move |metric: &&str| metric_of_deployment(number % namespaces, number / namespaces, metric);
        metrics.iter().map(read).collect::<Vec<_>>()
    };
    (0..autoscalers).flat_map(of).collect()
}

fn metric_of_deployment(namespace: usize, deployment: usize, metric: &str) -> String {
    format!(
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/pods/*/{metric}?labelSelector=app%3D{}",
        namespace_name(namespace),
        app(deployment)
    )
}

/// Reads in a closed loop by as many workers as kube-controller-manager has, until `done` is ready.
pub(crate) async fn closed_loop(
    client: &Client,
    url: &str,
    pods: Pods,
    path: Path,
    done: impl Future<Output = Result<(), Failure>>,
) -> Result<Vec<Duration>, Failure> {
    let mut workers = JoinSet::new();
    let (sender, mut waits) = tokio::sync::mpsc::unbounded_channel();
    for worker in 0..WORKERS {
        let (client, url, sender) = (client.clone(), url.to_owned(), sender.clone());
        workers.spawn(async move {
            for number in (worker..).step_by(WORKERS) {
                let waited = read(&client, format!("{url}{}", path(pods, number))).await;
                let has_failed = waited.is_err();
                if sender.send(waited).is_err() || has_failed {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    drop(sender);
    done.await?;
    workers.shutdown().await;
    let mut all = Vec::new();
    while let Ok(waited) = waits.try_recv() {
        all.push(waited?);
    }
    Ok(all)
}

/// Reads at even intervals, each whether or not those before are answered, over a while.
pub(crate) async fn open_loop(
    client: &Client,
    url: &str,
    paths: &[String],
    over: Duration,
) -> Result<Vec<Duration>, Failure> {
    let started = Instant::now();
    let mut reads = JoinSet::new();
    let mut waits = Vec::with_capacity(paths.len());
    for (number, path) in paths.iter().enumerate() {
        let at = started + over.mul_f64(number as f64 / paths.len() as f64);
        tokio::time::sleep_until(at.into()).await;
        let (client, url) = (client.clone(), format!("{url}{path}"));
        reads.spawn(async move { read(&client, url).await });
        while let Some(read) = reads.try_join_next() {
            waits.push(read??);
        }
    }
    while let Some(read) = reads.join_next().await {
        waits.push(read??);
    }
    Ok(waits)
}

async fn read(client: &Client, url: String) -> Result<Duration, Failure> {
    let asked = Instant::now();
    let answer = client.get(&url).send().await?;
    let code = answer.status();
    let body = answer.bytes().await?;
    if !code.is_success() || !body.windows(9).any(|part| part == br#""value":""#) {
        let body = String::from_utf8_lossy(&body);
        return Err(format!(
            "{url}: expected values, found {code}: {}",
            body.chars().take(500).collect::<String>()
        )
        .into());
    }
    Ok(asked.elapsed())
}

const WORKERS: usize = 5;
/// Five workers without a pause would measure how much the server can do; kube-controller-manager asks less.
const PAUSE: Duration = Duration::from_millis(20);
