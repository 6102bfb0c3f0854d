//! What the adapter reads by itself: its rule file, Prometheus' answers, scraped targets.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use e2e::signals::Signals;
use e2e::stack::{self, Adapter};
use e2e::{Failure, until};
use futures_util::FutureExt as _;

use super::watch::{Row, Watch, during};
use super::{Attacks, MIB, MINUTE, kubelet, many, prepare};

const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default";

#[tokio::test(flavor = "multi_thread")]
async fn the_adapter_withstands_what_it_reads() -> Result<(), Failure> {
    let _alone = prepare().await?;
    let dir = tempfile::tempdir()?;
    let mut attacks = Attacks::new(LIMIT);

    // A Prometheus with too many series.
    let prometheus = huge_prometheus().await?;
    let rules = dir.path().join("rules.yaml");
    std::fs::write(&rules, RULES)?;
    let folder = dir.path().join("prometheus");
    std::fs::create_dir_all(&folder)?;
    let source = [format!("--prometheus-url={prometheus}")];
    let adapter = stack::start_adapter_with(&rules, &source, &folder).await?;
    until("the metrics are listed", MINUTE, || async {
        Ok(adapter.api.text(&format!("{EXTERNAL}/small")).await?.0 == 200)
    })
    .await?;
    for (what, metric, clients) in [
        ("100,000 series for one request", "large", 1),
        ("400,000 series for 4 concurrent requests", "huge", 4),
    ] {
        let mut answers = super::Answers::new();
        attacks.add(
            watched(what, &adapter, "small", async {
                answers = many(clients, async |_| {
                    let (code, body) = adapter.api.text(&format!("{EXTERNAL}/{metric}")).await?;
                    Ok(format!("{code} {}", &body[..body.len().min(200)]))
                })
                .await;
                Ok(())
            })
            .await?,
        );
        println!("    {answers:?}");
    }
    attacks.add(
        watched("a rule file that unfolds to gigabytes", &adapter, "small", async {
            std::fs::write(&rules, alias_bomb(9))?;
            until("the edit is refused", MINUTE, || async {
                Ok(adapter.process.log().contains("keeping the previous rules"))
            })
            .await?;
            // It is not read again and again: for the time of two looks at the file.
            tokio::time::sleep(Duration::from_secs(12)).await;
            std::fs::write(&rules, RULES)?;
            Ok(())
        })
        .await?,
    );
    drop(adapter);

    // The embedded engine.
    let (steady, restless) = (Signals::start().await, Signals::start().await);
    let mut text = String::from("small 1\n");
    for number in 0..5000 {
        writeln!(text, "many{{number=\"{number}\"}} 1")?;
    }
    steady.set(text);
    restless.set("restless 1\n");
    let folder = dir.path().join("engine");
    std::fs::create_dir_all(&folder)?;
    let mut source: Vec<String> = [&steady, &restless]
        .iter()
        .enumerate()
        .map(|(number, target)| {
            format!(
                "--scrape-target=namespace=default,pod=pod-{number}@http://{}/metrics",
                target.target().address
            )
        })
        .collect();
    source.push("--scrape-interval=1s".to_owned());
    let adapter = stack::start_adapter_with(&rules, &source, &folder).await?;
    until("the metrics are listed", MINUTE, || async {
        Ok(adapter.api.text(&format!("{EXTERNAL}/heavy_count")).await?.0 == 200)
    })
    .await?;
    until("there are samples for most of the query's 10,000 steps", MINUTE, || async {
        let (_, list) = adapter.api.get(&format!("{EXTERNAL}/heavy_samples")).await?;
        Ok(list["items"][0]["value"].as_str().and_then(|count| count.parse().ok()) >= Some(20))
    })
    .await?;
    let mut took = Duration::ZERO;
    attacks.add(
        watched("a query of millions of samples", &adapter, "small", async {
            let started = Instant::now();
            let (code, body) = adapter.api.text(&format!("{EXTERNAL}/heavy?timeout=3s")).await?;
            took = started.elapsed();
            println!("    {code} after {took:?}: {}", &body[..body.len().min(200)]);
            Ok(())
        })
        .await?,
    );
    attacks.expect(
        &format!("the query ends at its deadline of 3 s, not after {took:?}"),
        took < Duration::from_secs(6),
    );
    attacks.add(
        watched("a target whose labels change with every scrape", &adapter, "small", async {
            for round in 0..8 {
                let mut text = String::new();
                for number in 0..45_000 {
                    writeln!(text, "restless{{number=\"{round}-{number}\"}} 1")?;
                }
                restless.set(text);
                // For longer than a scrape interval, so that each of these texts is scraped.
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            // New series of the other target are still taken.
            steady.set("small 1\nfresh 7\n");
            Ok(())
        })
        .await?,
    );
    until("a new series of another target is taken", MINUTE, || async {
        let (code, list) = adapter.api.get(&format!("{EXTERNAL}/fresh")).await?;
        Ok(code == 200 && list["items"][0]["value"] == "7")
    })
    .await?;
    attacks.judge("attacks-standalone")
}

async fn watched(
    what: &'static str,
    adapter: &Adapter,
    metric: &str,
    attack: impl Future<Output = Result<(), Failure>>,
) -> Result<Row, Failure> {
    let kubelet = kubelet()?;
    let livez = format!("{}/livez", adapter.api.server());
    let path = format!("{EXTERNAL}/{metric}");
    let kubeconfig = adapter.kubeconfig.clone();
    let watch = Watch {
        health: Box::new(move || {
            let request = kubelet.get(&livez).send();
            async move { request.await.is_ok_and(|answer| answer.status().is_success()) }.boxed()
        }),
        caller: caller(&kubeconfig, path)?,
    };
    during(what, &adapter.process, watch, attack).await
}

type Caller = Box<dyn Fn() -> futures_util::future::BoxFuture<'static, bool> + Send>;

/// A client of its own: connections belong to the thread that opened them.
fn caller(kubeconfig: &Path, path: String) -> Result<Caller, Failure> {
    let api = e2e::api::Api::from_kubeconfig(kubeconfig)?;
    Ok(Box::new(move || {
        let (api, path) = (api.clone(), path.clone());
        async move { api.text(&path).await.is_ok_and(|(code, _)| code == 200) }.boxed()
    }))
}

/// A Prometheus that answers with as many series as the query's last word says.
async fn huge_prometheus() -> Result<String, Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let answer = async |request: axum::extract::Request| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
        let asked = format!("{} {}", parts.uri, String::from_utf8_lossy(&body));
        if parts.uri.path().ends_with("/series") {
            let names = ["small", "large", "huge"].into_iter().filter(|name| asked.contains(name));
            let series: Vec<String> = names.map(|name| format!(r#"{{"__name__":"{name}"}}"#)).collect();
            return Body::from(format!(r#"{{"status":"success","data":[{}]}}"#, series.join(",")));
        }
        let count = if asked.contains("huge") {
            400_000
        } else if asked.contains("large") {
            100_000
        } else {
            1
        };
        let head = r#"{"status":"success","data":{"resultType":"vector","result":["#.to_owned();
        let parts = (0..count).map(|number| {
            let comma = if number == 0 { "" } else { "," };
            Ok::<_, std::io::Error>(format!(
                r#"{comma}{{"metric":{{"__name__":"m","number":"{number}","namespace":"default"}},"value":[1700000000,"1"]}}"#
            ))
        });
        let parts = std::iter::once(Ok(head)).chain(parts).chain(std::iter::once(Ok("]}}".to_owned())));
        Body::from_stream(futures_util::stream::iter(parts))
    };
    let router = Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// A few hundred bytes of YAML that stand for 10 to the power of `depth` nodes.
fn alias_bomb(depth: usize) -> String {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..depth {
        let previous = format!("*a{}", level - 1);
        let _ = writeln!(text, "a{level}: &a{level} [{}]", [previous.as_str(); 10].join(","));
    }
    format!("{text}rules: []\n")
}

const RULES: &str = r"
externalRules:
- {seriesQuery: 'small', resources: {namespaced: false}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'}
- {seriesQuery: 'large', resources: {namespaced: false}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'}
- {seriesQuery: 'huge', resources: {namespaced: false}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'}
- {seriesQuery: 'fresh', resources: {namespaced: false}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'}
- seriesQuery: 'many'
  resources: {namespaced: false}
  name: {as: heavy}
  metricsQuery: 'sum_over_time(sum(<<.Series>>{<<.LabelMatchers>>})[30s:3ms])'
- seriesQuery: 'many'
  resources: {namespaced: false}
  name: {as: heavy_count}
  metricsQuery: 'count(<<.Series>>{<<.LabelMatchers>>})'
- seriesQuery: 'many'
  resources: {namespaced: false}
  name: {as: heavy_samples}
  metricsQuery: 'min(count_over_time(<<.Series>>{<<.LabelMatchers>>}[30s]))'
";

/// The Deployment's memory limit is 128 MiB; the engine's samples come beside it.
const LIMIT: u64 = 256 * MIB;
