//! The real autoscaler on a real control plane, reading our metrics: up under load, hold when nothing is known, down
//! again.
//!
//! The controller looks every 2 s instead of every 15, and the waiting times of the tutorial's `behavior` are shortened
//! by a patch: what is tested is what the autoscaler reads, not how long it waits.

use std::path::PathBuf;
use std::time::Duration;

use e2e::cluster::Cluster;
use e2e::component::{component, left_out};
use e2e::kubelet::{Kubelet, Settings};
use e2e::load::Load;
use e2e::prometheus::Prometheus;
use e2e::signals::Signals;
use e2e::{Failure, free_port, stack, until};
use serde_json::{Value, json};
use testkit::rows::each_row;

const MINUTE: Duration = Duration::from_mins(1);
/// As long as the tutorial's window of two minutes takes to forget a load, and some time for the autoscaler.
const DOWN: Duration = Duration::from_mins(4);
/// Some looks of the autoscaler.
const HOLD: Duration = Duration::from_secs(8);

fn replicas(cluster: &Cluster, deployment: &str) -> Result<u64, Failure> {
    let text = cluster.kubectl(&["get", "deployment", deployment, "-o", "jsonpath={.spec.replicas}"])?;
    Ok(text.parse()?)
}

async fn until_replicas(
    cluster: &Cluster,
    deployment: &str,
    limit: Duration,
    enough: impl Fn(u64) -> bool,
) -> Result<(), Failure> {
    let waited = until("the number of replicas", limit * cluster.patience(), || async {
        // Each look is a kubectl of its own, whose time the machine needs for what is waited for.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(enough(replicas(cluster, deployment)?))
    });
    waited.await.map_err(|error| {
        let described = cluster.kubectl(&["describe", "hpa"]).unwrap_or_default();
        format!("{error}: {deployment} has {:?}\n{described}", replicas(cluster, deployment)).into()
    })
}

/// The condition `ScalingActive`: status and message.
fn scaling_active(cluster: &Cluster, hpa: &str) -> Result<(String, String), Failure> {
    let object: Value = serde_json::from_str(&cluster.kubectl(&["get", "hpa", hpa, "-o", "json"])?)?;
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let active =
        conditions.into_iter().find(|condition| condition["type"] == "ScalingActive").unwrap_or_default();
    let text = |field: &str| active[field].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("message")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorials_autoscaler_follows_real_load() -> Result<(), Failure> {
    let (Some(prometheus), Some(cluster)) = (component("prometheus"), Cluster::start().await?) else {
        return left_out("kube-apiserver");
    };
    let mut prometheus = Prometheus::start(&prometheus, &[], cluster.dir()).await?;
    let port = free_port()?;
    cluster.deploy("overlays/tutorial", port)?;
    let behavior = json!({"spec": {"behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 5}]},
        "scaleDown": {"stabilizationWindowSeconds": 5, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]},
    }}});
    cluster.kubectl(&["patch", "hpa", "model-server-hpa", "--type=merge", "-p", &behavior.to_string()])?;
    let pods = Settings {
        namespace: cluster.namespace().to_owned(),
        app: "model-server",
        arguments: stack::slow_model()?,
        targets_file: prometheus.targets_file(),
        other_targets: Vec::new(),
    };
    let kubelet = Kubelet::start(&cluster.client, pods, cluster.dir());
    let rules = stack::repository().join("deploy/overlays/tutorial/adapter-values.yaml");
    let _adapter = cluster.start_adapter(port, &rules, &prometheus.url(), &[]).await?;
    until("the autoscaler reads our metrics", MINUTE * cluster.patience(), || async {
        Ok(scaling_active(&cluster, "model-server-hpa")?.0 == "True")
    })
    .await?;
    assert_eq!(replicas(&cluster, "model-server")?, 2);

    // Up: both metrics are far beyond their targets.
    let mut load = Load::new(&kubelet.addresses());
    load.set(60);
    until_replicas(&cluster, "model-server", 2 * MINUTE, |replicas| replicas >= 4).await?;
    let described = cluster.kubectl(&["describe", "hpa", "model-server-hpa"])?;
    each_row(["\"inference_latency_seconds_avg\" on pods:", "\"request_queue_depth\" on pods:"], |metric| {
        assert!(described.contains(metric), "{described}");
    });

    // Hold: without Prometheus nothing is known, and the reason is told.
    prometheus.stop();
    until("the autoscaler knows that nothing is known", MINUTE * cluster.patience(), || async {
        let (status, message) = scaling_active(&cluster, "model-server-hpa")?;
        Ok(status == "False"
            && message.contains("cannot reach Prometheus at http://")
            && message.contains("Connection refused"))
    })
    .await?;
    let held = replicas(&cluster, "model-server")?;
    load.set(0);
    tokio::time::sleep(HOLD * cluster.patience()).await;
    assert_eq!(replicas(&cluster, "model-server")?, held, "an outage must not scale");

    // Recover, and down: the load has ended.
    prometheus.resume().await?;
    until("the autoscaler reads our metrics again", MINUTE * cluster.patience(), || async {
        Ok(scaling_active(&cluster, "model-server-hpa")?.0 == "True")
    })
    .await?;
    until_replicas(&cluster, "model-server", DOWN, |replicas| replicas == 2).await?;
    let events = cluster.kubectl(&["events", "--for", "hpa/model-server-hpa"])?;
    println!("{events}");
    // That it went down is not always told: client-go drops events of an object after 25, and the outage made many.
    let told = |line: &str| line.contains("SuccessfulRescale") && line.contains("above target");
    assert!(events.lines().any(told), "{events}");
    drop(kubelet);
    cluster.stop();
    Ok(())
}

/// One Deployment whose autoscaler is pointed at one kind of metric after the other.
const SIGNAL_APP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: signal-app}
spec:
  replicas: 1
  selector: {matchLabels: {app: signal-app}}
  template:
    metadata: {labels: {app: signal-app}}
    spec: {containers: [{name: app, image: model-server}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: signal-app}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: signal-app}
  minReplicas: 1
  maxReplicas: 6
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 6, periodSeconds: 5}]}
    scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Percent, value: 100, periodSeconds: 5}]}
  metrics:
  - type: External
    external: {metric: {name: queue_length, selector: {matchLabels: {queue: a}}}, target: {type: AverageValue, averageValue: "10"}}
"#;

const SIGNAL_RULES: &str = r#"
rules:
- seriesQuery: 'pending{namespace!="",service!=""}'
  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'up{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: "pod_pressure"}
  # What a test says for all pods alike, since their names are not known before.
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) * scalar(max(pressure)) / scalar(max(divisor))'
externalRules:
- seriesQuery: 'queue_length'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
"#;

/// What the signals say: one number for every kind of metric.
fn signals(namespace: &str, value: u32, divisor: u32) -> String {
    format!(
        "pending{{namespace=\"{namespace}\",service=\"signal-app\"}} {value}\n\
         queue_length{{namespace=\"{namespace}\",queue=\"a\"}} {value}\n\
         queue_length{{namespace=\"{namespace}\",queue=\"b\"}} 1000\npressure {value}\ndivisor {divisor}\n"
    )
}

struct SignalStack {
    cluster: Cluster,
    prometheus: Prometheus,
    signals: Signals,
    rules: PathBuf,
    _kubelet: Kubelet,
}

impl SignalStack {
    async fn start() -> Result<Option<SignalStack>, Failure> {
        let (Some(prometheus), Some(cluster)) = (component("prometheus"), Cluster::start().await?) else {
            return Ok(None);
        };
        let signals = Signals::start().await;
        signals.set(self::signals(cluster.namespace(), 1, 1));
        let prometheus = Prometheus::start(&prometheus, &[], cluster.dir()).await?;
        let pods = Settings {
            namespace: cluster.namespace().to_owned(),
            app: "signal-app",
            arguments: Vec::new(),
            targets_file: prometheus.targets_file(),
            other_targets: vec![signals.target()],
        };
        let rules = cluster.dir().join("rules.yaml");
        std::fs::write(&rules, SIGNAL_RULES)?;
        cluster.apply(SIGNAL_APP)?;
        let kubelet = Kubelet::start(&cluster.client, pods, cluster.dir());
        until("Prometheus has scraped the pod and the signals", MINUTE, || async {
            Ok(!prometheus.query("up{pod!=\"\"} * on() group_left() max(pressure)").await?.is_empty())
        })
        .await?;
        Ok(Some(SignalStack { cluster, prometheus, signals, rules, _kubelet: kubelet }))
    }

    /// Changes what the signals say.
    fn say(&self, value: u32, divisor: u32) {
        self.signals.set(signals(self.cluster.namespace(), value, divisor));
    }

    /// Points the autoscaler at a metric.
    fn scale_by(&self, metric: &Value) -> Result<(), Failure> {
        let patch = json!({"spec": {"metrics": [metric]}}).to_string();
        self.cluster.kubectl(&["patch", "hpa", "signal-app", "--type=merge", "-p", &patch]).map(drop)
    }

    async fn until_replicas(&self, wanted: u64) -> Result<(), Failure> {
        until_replicas(&self.cluster, "signal-app", MINUTE, |replicas| replicas == wanted).await
    }
}

/// The target of the pods' own metric: 10 on average.
fn by_pods() -> Value {
    json!({"type": "Pods", "pods": {"metric": {"name": "pod_pressure"}, "target": {"type": "AverageValue", "averageValue": "10"}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_metric_scales_and_infinity_holds() -> Result<(), Failure> {
    let Some(stack) = SignalStack::start().await? else { return left_out("kube-apiserver") };
    let port = free_port()?;
    stack.cluster.deploy("overlays/external", port)?;
    let adapter = stack.cluster.start_adapter(port, &stack.rules, &stack.prometheus.url(), &[]).await?;
    let object = |kind: &str| {
        let described = json!({"apiVersion": "v1", "kind": kind, "name": "signal-app"});
        json!({"type": "Object", "object": {"metric": {"name": "pending"}, "describedObject": described,
               "target": {"type": "AverageValue", "averageValue": "10"}}})
    };
    let external = json!({"type": "External", "external": {"metric": {"name": "queue_length", "selector": {"matchLabels": {"queue": "a"}}},
                          "target": {"type": "AverageValue", "averageValue": "10"}}});
    for (name, metric) in
        [("external", external), ("a service's", object("Service")), ("the namespace's", object("Namespace"))]
    {
        println!("scaling by {name} metric");
        stack.scale_by(&metric)?;
        stack.say(30, 1);
        stack.until_replicas(3).await?;
        stack.say(5, 1);
        stack.until_replicas(1).await?;
    }

    println!("scaling by the pods' metric, then +Inf");
    stack.scale_by(&by_pods())?;
    // Each pod says so much: twice the target doubles the pods until the most there may be.
    stack.say(20, 1);
    stack.until_replicas(6).await?;
    stack.say(20, 0);
    until("the autoscaler is told that the value is infinite", MINUTE * stack.cluster.patience(), || async {
        let (status, message) = scaling_active(&stack.cluster, "signal-app")?;
        Ok(status == "False" && message.contains("is +Inf, which no quantity can hold"))
    })
    .await?;
    tokio::time::sleep(HOLD * stack.cluster.patience()).await;
    assert_eq!(replicas(&stack.cluster, "signal-app")?, 6, "infinity must not scale down");
    let events = stack.cluster.kubectl(&["events", "--for", "hpa/signal-app"])?;
    assert!(events.contains("is +Inf, which no quantity can hold"), "{events}");

    if !stack.cluster.is_own() {
        println!("not run: prometheus-adapter needs a certificate of a control plane of our own");
        stack.cluster.stop();
        return Ok(());
    }
    println!("the same +Inf by prometheus-adapter, which says that it is a large negative number");
    drop(adapter);
    let Some(program) = component("prometheus-adapter") else { return left_out("prometheus-adapter") };
    let [certificate, key] = stack.cluster.serving_certificate()?;
    stack
        .cluster
        .trust_for_apiservices(&["v1beta1", "v1beta2"].map(|v| format!("{v}.custom.metrics.k8s.io")))?;
    let flags = [certificate.as_str(), &key, &format!("--secure-port={port}")];
    let url = stack.prometheus.url();
    let _upstream = stack.cluster.start_prometheus_adapter(&program, &stack.rules, &url, &flags).await?;
    stack.until_replicas(1).await?;
    stack.cluster.stop();
    Ok(())
}

/// What has no series while there is nothing to do.
const FROM_ZERO_RULES: &str = r#"
rules:
- seriesQuery: 'jobs_waiting{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
  onEmpty: zero
externalRules:
- seriesQuery: 'messages{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
  onEmpty: zero
"#;

#[tokio::test(flavor = "multi_thread")]
async fn workloads_scale_from_zero_and_back_to_it() -> Result<(), Failure> {
    let Some(stack) = SignalStack::start().await? else { return left_out("kube-apiserver") };
    if !stack.cluster.is_own() {
        println!("not run: this control plane may not allow minReplicas: 0");
        stack.cluster.stop();
        return Ok(());
    }
    let port = free_port()?;
    stack.cluster.deploy("overlays/external", port)?;
    std::fs::write(&stack.rules, FROM_ZERO_RULES)?;
    let _adapter = stack.cluster.start_adapter(port, &stack.rules, &stack.prometheus.url(), &[]).await?;
    let namespace = stack.cluster.namespace();
    let target = json!({"type": "AverageValue", "averageValue": "10"});
    let service = json!({"apiVersion": "v1", "kind": "Service", "name": "signal-app"});
    let object = json!({"type": "Object", "object": {"metric": {"name": "jobs_waiting"}, "describedObject": service, "target": target}});
    let external = json!({"type": "External", "external": {"metric": {"name": "messages", "selector": {"matchLabels": {"queue": "a"}}}, "target": target}});
    for (series, labels, metric) in
        [("jobs_waiting", "service=\"signal-app\"", object), ("messages", "queue=\"a\"", external)]
    {
        println!("from zero by {series}, of which there has been none");
        stack.signals.set(String::new());
        let patch = json!({"spec": {"minReplicas": 0, "metrics": [metric]}}).to_string();
        stack.cluster.kubectl(&["patch", "hpa", "signal-app", "--type=merge", "-p", &patch])?;
        stack.until_replicas(0).await?;
        for (value, replicas) in [(5, 1), (30, 3)] {
            stack.signals.set(format!("{series}{{namespace=\"{namespace}\",{labels}}} {value}\n"));
            stack.until_replicas(replicas).await?;
        }
        stack.signals.set(String::new());
        stack.until_replicas(0).await?;
        tokio::time::sleep(HOLD).await;
        assert_eq!(replicas(&stack.cluster, "signal-app")?, 0, "zero holds");
        let (status, message) = scaling_active(&stack.cluster, "signal-app")?;
        assert_eq!(status, "True", "{message}");
    }
    stack.cluster.stop();
    Ok(())
}
