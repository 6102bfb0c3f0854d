//! What the real prometheus-adapter was recorded to answer, and what ours answers to the same: 361 exchanges over the
//! same rules, objects and values, and 24 faults of Prometheus.
//!
//! The recordings are not in this repository; where they are not at hand the tests say so in one line. What they teach
//! is held by the tests of `adapter` and `apiservice`, case by case.

mod faults;
mod recorded;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use e2e::api::Api;
use e2e::cluster::{CALLERS, Cluster, ClusterAdapter};
use e2e::comparison::{Exchange, READ, Report, Request, Seen, View};
use e2e::component::{component, left_out};
use e2e::prometheus::Prometheus;
use e2e::proxy::QueryProxy;
use e2e::signals::Signals;
use e2e::{Failure, free_port, until};
use serde_json::json;

const MINUTE: Duration = Duration::from_mins(1);
const ASKER: &str = "adapter";

/// The folder of the recordings, where it is at hand.
fn recordings() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/recordings");
    if dir.join("rules.yaml").exists() {
        return Some(dir);
    }
    eprintln!("not run: the recordings of prometheus-adapter (../shared/recordings) are not on this machine");
    None
}

/// Our adapter over the recorded world.
struct Stage {
    cluster: Cluster,
    _adapter: ClusterAdapter,
    proxy: QueryProxy,
    callers: Vec<(&'static str, Api, Option<String>)>,
    _prometheus: Prometheus,
    _signals: Arc<Signals>,
}

impl Stage {
    async fn start(recordings: &Path) -> Result<Option<Stage>, Failure> {
        let (Some(prometheus), Some(cluster)) = (component("prometheus"), Cluster::start_own().await?) else {
            return Ok(None);
        };
        cluster.deploy("base", free_port()?)?;
        until("the cluster gives pods an identity", MINUTE, || async {
            Ok(cluster.kubectl(&["get", "serviceaccount", "default"]).is_ok())
        })
        .await?;
        cluster.apply(&std::fs::read_to_string(recordings.join("objects.yaml"))?)?;
        cluster.apply(CALLERS)?;
        for pod in ["model-a", "model-b", "model-c", "silent"] {
            let running = json!({"status": {"phase": "Running"}}).to_string();
            cluster.kubectl(&[
                "patch",
                "pod",
                pod,
                "--subresource=status",
                "--type=merge",
                "-p",
                &running,
            ])?;
        }
        let signals = Arc::new(Signals::start().await);
        let prometheus = Prometheus::start(&prometheus, &[signals.target()], cluster.dir()).await?;
        let tick = AtomicU32::new(0);
        until("Prometheus has scraped rates", MINUTE, || async {
            signals.set(world::exposition(tick.fetch_add(1, Ordering::Relaxed)));
            Ok(prometheus.query("rate(http_requests_total[2m]) > 0").await?.len() == 3)
        })
        .await?;
        let proxy = QueryProxy::start(&prometheus.url()).await?;
        let [certificate, key] = cluster.serving_certificate()?;
        let rules = recordings.join("rules.yaml");
        let flags = [certificate.as_str(), &key, "--metrics-relist-interval=1h"];
        let adapter = cluster.start_adapter(free_port()?, &rules, &proxy.url(ASKER), &flags).await?;
        let admin = cluster.api(adapter.port, Some(("admin", &["system:masters"])))?;
        let anonymous = cluster.api(adapter.port, None)?;
        until("the adapter is ready", MINUTE, || async { Ok(anonymous.text("/readyz").await?.0 == 200) })
            .await?;
        let callers = vec![
            ("admin", admin, None),
            ("anon", anonymous.clone(), None),
            ("reader", anonymous.clone(), Some(cluster.token("default", "reader")?)),
            ("nobody", anonymous, Some(cluster.token("default", "nobody")?)),
        ];
        Ok(Some(Stage {
            cluster,
            _adapter: adapter,
            proxy,
            callers,
            _prometheus: prometheus,
            _signals: signals,
        }))
    }

    async fn ask(&self, request: &Request) -> Result<Seen, Failure> {
        let (_, api, token) = self
            .callers
            .iter()
            .find(|(name, ..)| *name == request.caller)
            .ok_or_else(|| format!("no caller {}", request.caller))?;
        let mut headers = request.headers.clone();
        if let Some(token) = token {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        self.proxy.take(ASKER);
        let answer = api.send(&request.method, &request.path, &headers).await?;
        let (queries, samples) = self.proxy.take(ASKER);
        Ok(Seen { answer, queries, samples })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_exchange_is_answered_alike() -> Result<(), Failure> {
    let Some(recordings) = recordings() else { return Ok(()) };
    let Some(stage) = Stage::start(&recordings).await? else { return left_out("kube-apiserver") };
    let mut report = Report::new("recordings");
    let exchanges = recorded::exchanges(&recordings)?;
    for (position, (request, upstream)) in exchanges.iter().enumerate() {
        let ours = stage.ask(request).await?;
        let exchange = Exchange {
            origin: format!("recording {position}"),
            request: request.clone(),
            upstream: recorded::comparable(request, upstream.clone()),
            ours: recorded::comparable(request, ours),
            upstream_twin: None,
            chance: None,
            growing: recorded::growing(request),
            view: View::Wire,
            read: READ,
        };
        report.add(&exchange);
    }
    report.write(&json!({}))?;
    report.judge()?;
    stage.cluster.stop();
    Ok(())
}
