//! The tutorial on a node, with a Prometheus that the real operator runs.

use std::time::{Duration, Instant};

use e2e::load::BODY;
use e2e::node::{Node, Stack, Summary, on_node, outside};
use e2e::picture::{Line, Panel, steps, svg};
use e2e::stack::{repository, write_report};
use e2e::{Failure, median, until};
use serde::Serialize;
use serde_json::{Value, json};

use super::upgrade::ADAPTER;
use super::{DEPTH, MINUTE, object, pods, until_adapter_ready, until_measured};

/// The latency of every pod, as autoscalers ask for it.
const LATENCY: &str =
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/inference_latency_seconds_avg";
const URL: &str = "http://model-server.default.svc/predict";

#[test]
fn the_tutorials_commands_answer_on_real_pods() -> Result<(), Failure> {
    on_node(async |node| {
        node.install(Stack::TutorialCpu).await?;
        until_measured(node).await?;

        let list = node.cluster.kubectl(&["get", "--raw", "/apis/custom.metrics.k8s.io/v1beta1"])?;
        let list: Value = serde_json::from_str(&list)?;
        let names: Vec<&str> = list["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|metric| metric["name"].as_str())
            .collect();
        for name in ["gpu_utilization_percent", "inference_latency_seconds_avg", "request_queue_depth"] {
            assert!(names.contains(&format!("pods/{name}").as_str()), "{names:?}");
        }

        let (forward, address) = node.port_forward("default", "svc/model-server", 80).await?;
        let answer = reqwest::Client::new()
            .post(format!("http://{address}/predict"))
            .header("content-type", "application/json")
            .body(BODY)
            .send()
            .await?;
        assert_eq!(answer.status(), 200);
        let answer: Value = serde_json::from_str(&answer.text().await?)?;
        assert!(answer["prediction"].is_array() && answer["latency_ms"].is_number(), "{answer}");
        let summary = outside(100, 5, &format!("http://{address}/predict"))?;
        assert_eq!((summary.answered, summary.failed), (100, 0));
        let metrics = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
        for name in ["inference_latency_seconds_bucket", "request_queue_depth", "gpu_utilization_percent"] {
            assert!(metrics.contains(name), "{metrics}");
        }
        drop(forward);
        Ok(())
    })
}

#[test]
fn the_tutorials_overlay_runs_on_a_node_that_offers_gpus() -> Result<(), Failure> {
    on_node(async |node| {
        node.clear()?;
        node.import_images()?;
        runs_on_offered_gpus(node, "tutorial-without-libtorch").await
    })
}

#[test]
#[ignore = "needs the image with libtorch, 3.5 GB: make tutorial"]
fn the_tutorials_overlay_serves_its_own_model_with_one_patch() -> Result<(), Failure> {
    on_node(async |node| {
        node.clear()?;
        node.import_image("adapter")?;
        node.import_image("model-server-cuda")?;
        runs_on_offered_gpus(node, "tutorial").await
    })
}

/// Applies a folder of `tests/manifests/node`: each pod gets a GPU of the node, and the autoscaler reads both metrics.
async fn runs_on_offered_gpus(node: &Node, folder: &str) -> Result<(), Failure> {
    node.install_prometheus().await?;
    node.offer("nvidia.com/gpu", 2)?;
    node.apply_overlay(&repository().join("tests/manifests/node").join(folder)).await?;
    for pod in pods(node, "default", "app=model-server")? {
        assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"], "1", "{pod}");
    }
    let (_forward, address) = node.port_forward("default", "svc/model-server", 80).await?;
    let summary = outside(100, 5, &format!("http://{address}/predict"))?;
    assert_eq!((summary.answered, summary.failed), (100, 0));
    until("the autoscaler reads both metrics", 3 * MINUTE, || async {
        let hpa = object(node, "default", "hpa/model-server-hpa")?;
        let current = hpa["status"]["currentMetrics"].as_array().cloned().unwrap_or_default();
        Ok(current.iter().filter(|metric| metric["pods"]["current"]["averageValue"].is_string()).count() == 2)
    })
    .await
}

/// The tutorial's autoscaler with windows of 0 s: how long it waits is its own; how soon it knows is ours.
fn hasten(node: &Node) -> Result<(), Failure> {
    let policies = json!([{"type": "Pods", "value": 2, "periodSeconds": 15}]);
    let behavior = json!({"stabilizationWindowSeconds": 0, "policies": policies});
    let patch = json!({"spec": {"behavior": {"scaleUp": behavior, "scaleDown": behavior}}}).to_string();
    node.cluster.kubectl(&["patch", "hpa", "model-server-hpa", "--type=merge", "-p", &patch]).map(drop)
}

/// Seconds from the begin of a load.
struct Reaction {
    metric_over_target: f64,
    desired_replicas: f64,
}

#[test]
fn the_autoscaler_follows_load_and_no_request_fails_when_pods_come_and_go() -> Result<(), Failure> {
    follow_load(1)
}

/// Five times, and how soon the adapter is ready with a quarter of a core.
#[test]
#[ignore = "takes 15 minutes: make tutorial"]
fn the_autoscaler_reacts_within_a_scrape_and_two_of_its_looks() -> Result<(), Failure> {
    follow_load(5)
}

/// Loads two pods until the autoscaler asks for more. That is measured `rounds` times. The last time more pods come,
/// and go as the load ends.
fn follow_load(rounds: usize) -> Result<(), Failure> {
    on_node(async |node| {
        node.install(Stack::TutorialCpu).await?;
        hasten(node)?;
        let mut failed = 0;
        let mut reactions = Vec::new();
        for round in 1..=rounds {
            until_calm(node).await?;
            let name = format!("load-{round}");
            node.start_load(&name, 50, "10m", URL)?;
            let reaction = reaction(node).await?;
            println!(
                "round {round}: metric over its target after {:.1} s, desired replicas after {:.1} s",
                reaction.metric_over_target, reaction.desired_replicas
            );
            reactions.push(reaction);
            if round < rounds {
                let Summary { failed: more, .. } = node.stop_load(&name)?;
                failed += more;
                begin_again(node)?;
            }
        }

        // The last load goes on: more pods come, get ready and take their share.
        until("the pods that came serve", 2 * MINUTE, || async { Ok(serving(node)? >= 4) }).await?;
        let peak = serving(node)?;
        // And as it gets light they go, each of them after the requests that it has.
        node.start_load("light", 2, "10m", URL)?;
        let last = node.stop_load(&format!("load-{rounds}"))?;
        until("two pods are left", 5 * MINUTE, || async {
            Ok(pods(node, "default", "app=model-server")?.len() == 2)
        })
        .await?;
        let light = node.stop_load("light")?;
        println!("{last:?} under load, {light:?} while pods went");
        failed += last.failed + light.failed;
        assert!(light.answered > 0, "{light:?}");
        assert_eq!(failed, 0, "no request may fail when pods come and go");

        let events = node.cluster.kubectl(&["events", "--for", "hpa/model-server-hpa"])?;
        println!("{events}");
        assert!(events.contains("above target") && events.contains("All metrics below target"), "{events}");
        for pod in pods(node, "default", "app=model-server")? {
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            for process in node.processes(uid, "model-server") {
                let (peak, limit) = process.memory()?;
                assert!(peak < limit, "{peak} bytes of {limit}");
            }
            assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{pod}");
        }

        let ready = ready_with_a_quarter_of_a_core(node).await?;
        let desired = median(reactions.iter().map(|reaction| reaction.desired_replicas));
        write_report(
            "node",
            &json!({
                "pods": {"peak": peak, "final": 2},
                "failed_requests": failed,
                "seconds_to_metric_over_target": median(reactions.iter().map(|reaction| reaction.metric_over_target)),
                "seconds_to_desired_replicas": desired,
                "ready_ms": ready.as_millis(),
                "rounds": rounds,
            }),
        )?;
        Ok(())
    })
}

/// How soon the adapter is ready after its start.
async fn ready_with_a_quarter_of_a_core(node: &mut Node) -> Result<Duration, Failure> {
    let adapter = |command: &[&str]| {
        node.cluster.kubectl(&[&["-n=monitoring"], command, &["deployment/adapter"]].concat())
    };
    adapter(&["scale", "--replicas=0"])?;
    until("no pod of the adapter is left", 2 * MINUTE, || async {
        Ok(pods(node, "monitoring", ADAPTER)?.is_empty())
    })
    .await?;
    adapter(&["set", "resources", "--limits=cpu=250m,memory=180Mi"])?;
    adapter(&["scale", "--replicas=1"])?;
    let (_, ready) = until_adapter_ready(node, "monitoring", ADAPTER, 6443).await?;
    println!("the adapter was ready {} ms after its start", ready.as_millis());
    // What is installed is no longer as it is shipped.
    node.clear()?;
    Ok(ready)
}

/// What the autoscaler says of itself at one time.
#[derive(Serialize)]
struct Look {
    seconds: f64,
    replicas: f64,
    desired: f64,
    /// `None` as long as it has read none.
    latency_ms: Option<f64>,
    depth: Option<f64>,
}

impl Look {
    fn take(node: &Node, started: Instant) -> Result<Look, Failure> {
        let hpa = object(node, "default", "hpa/model-server-hpa")?;
        let status = &hpa["status"];
        let average = |name: &str| -> Option<f64> {
            let metrics = status["currentMetrics"].as_array()?;
            let metric = metrics.iter().find(|metric| metric["pods"]["metric"]["name"] == name)?;
            quantity(metric["pods"]["current"]["averageValue"].as_str()?)
        };
        let look = Look {
            seconds: started.elapsed().as_secs_f64().round(),
            replicas: status["currentReplicas"].as_f64().unwrap_or_default(),
            desired: status["desiredReplicas"].as_f64().unwrap_or_default(),
            latency_ms: average("inference_latency_seconds_avg").map(|seconds| seconds * 1e3),
            depth: average("request_queue_depth"),
        };
        println!("{}", serde_json::to_string(&look)?);
        Ok(look)
    }
}

/// A picture of the autoscaler's run.
fn picture_of(looks: &[Look]) -> Result<String, Failure> {
    let line = |name: &str, value: fn(&Look) -> Option<f64>| Line {
        name: name.to_owned(),
        points: looks.iter().filter_map(|look| Some((look.seconds, value(look)?))).collect(),
    };
    let panel = |title: &str, lines: Vec<Line>, target: Option<f64>| {
        let values = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
        let top = values.chain(target).fold(1.0, f64::max) * 1.2;
        Panel { title: title.to_owned(), lines, target, top }
    };
    let mut replicas = line("replicas", |look| Some(look.replicas));
    replicas.points = steps(replicas.points);
    svg(
        "The tutorial's autoscaler on a node: 50 clients for 8 minutes, then none",
        &[
            panel(
                "mean latency in ms: target 200",
                vec![line("latency", |look| look.latency_ms)],
                Some(200.0),
            ),
            panel(
                "requests waiting in a pod: target 10",
                vec![line("depth", |look| look.depth)],
                Some(TARGET),
            ),
            panel("replicas", vec![replicas], None),
        ],
    )
}

/// The autoscaler's own windows of 30, 300 and 120 s.
#[test]
#[ignore = "takes 35 minutes: make tutorial"]
fn the_tutorial_as_printed_goes_up_and_comes_back_to_two_replicas() -> Result<(), Failure> {
    on_node(async |node| {
        node.clear()?;
        node.install(Stack::TutorialCpu).await?;
        until_calm(node).await?;
        let started = Instant::now();
        let mut looks = Vec::new();
        node.start_load("load", 50, "60m", URL)?;
        while started.elapsed() < LOADED {
            looks.push(Look::take(node, started)?);
            tokio::time::sleep(LOOK).await;
        }
        let summary = node.stop_load("load")?;
        let peak = looks.iter().map(|look| look.replicas).fold(0.0, f64::max);
        assert!(peak > 2.0, "the autoscaler did not add replicas");
        loop {
            let look = Look::take(node, started)?;
            let replicas = look.replicas;
            looks.push(look);
            if replicas <= 2.0 {
                break;
            }
            assert!(started.elapsed() < LOADED + 30 * MINUTE, "two replicas are not back");
            tokio::time::sleep(LOOK).await;
        }
        let events = node.cluster.kubectl(&["events", "--for", "hpa/model-server-hpa"])?;
        println!("{events}");
        let events: Vec<&str> = events.lines().collect();
        let report =
            json!({"failed_requests": summary.failed, "peak": peak, "looks": looks, "events": events});
        write_report("tutorial", &report)?;
        std::fs::write(repository().join("target/reports/tutorial.svg"), picture_of(&looks)?)?;
        assert_eq!(summary.failed, 0, "{summary:?}");
        Ok(())
    })
}

/// Waits for what a load does to the autoscaler. Which metric is first over its target is left to chance: new pods take
/// load from a queue soon.
async fn reaction(node: &Node) -> Result<Reaction, Failure> {
    let started = Instant::now();
    let mut over_target = None;
    let mut desired = None;
    until("a metric is over its target, and the autoscaler asks for more replicas", 3 * MINUTE, async || {
        for (path, target) in [(DEPTH, TARGET), (LATENCY, 0.2)] {
            if over_target.is_none() && mean(node, path).await?.is_some_and(|mean| mean > target) {
                over_target = Some(started.elapsed().as_secs_f64());
            }
        }
        let replicas = object(node, "default", "deployment/model-server")?["spec"]["replicas"].as_u64();
        if desired.is_none() && replicas > Some(2) {
            desired = Some(started.elapsed().as_secs_f64());
        }
        Ok(over_target.is_some() && desired.is_some())
    })
    .await?;
    let missing = "a condition that holds without its time";
    Ok(Reaction {
        metric_over_target: over_target.ok_or(missing)?,
        desired_replicas: desired.ok_or(missing)?,
    })
}

/// The mean of a metric over the pods that have it, as an autoscaler forms it; `None` without values.
async fn mean(node: &Node, path: &str) -> Result<Option<f64>, Failure> {
    let (_, list) = node.cluster.json(path).await?;
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    let values: Vec<f64> = items.iter().filter_map(|item| quantity(item["value"].as_str()?)).collect();
    Ok((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
}

/// A number as these metrics are written: whole, or in thousandths.
fn quantity(text: &str) -> Option<f64> {
    match text.strip_suffix('m') {
        Some(thousandths) => Some(thousandths.parse::<f64>().ok()? / 1000.0),
        None => text.parse().ok(),
    }
}

/// Waits until two pods serve that have no load, as Prometheus knows.
async fn until_calm(node: &Node) -> Result<(), Failure> {
    until("two pods wait for requests", 2 * MINUTE, || async {
        let (code, values) = node.cluster.json(DEPTH).await?;
        let values = values["items"].as_array().cloned().unwrap_or_default();
        Ok(code == 200
            && values.len() == 2
            && values.iter().all(|item| item["value"] == "0")
            && serving(node)? == 2)
    })
    .await
}

/// Two new pods in the place of those there are: what the old ones measured would be remembered for two minutes.
fn begin_again(node: &Node) -> Result<(), Failure> {
    for replicas in ["--replicas=0", "--replicas=2"] {
        node.cluster.kubectl(&["scale", "deployment", "model-server", replicas])?;
        node.wait_rolled_out("default", "deployment/model-server")?;
    }
    Ok(())
}

/// Pods that are ready.
fn serving(node: &Node) -> Result<u64, Failure> {
    Ok(object(node, "default", "deployment/model-server")?["status"]["readyReplicas"]
        .as_u64()
        .unwrap_or_default())
}

/// How long the load of the tutorial as printed lasts.
const LOADED: Duration = Duration::from_mins(8);
/// How often the autoscaler is looked at then.
const LOOK: Duration = Duration::from_secs(15);
/// What the tutorial's autoscaler wants the queue of a pod to be.
const TARGET: f64 = 10.0;
