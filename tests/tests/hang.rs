//! A Prometheus that hangs, and the real autoscaler, whose workers wait for each answer: what scales by another source
//! goes on, and what scales by this one goes on as soon as it answers. The figures are in `target/reports/hang.json`.

use std::time::{Duration, Instant};

use e2e::cluster::Cluster;
use e2e::component::{component, left_out};
use e2e::prometheus::Prometheus;
use e2e::proxy::{Fault, QueryProxy};
use e2e::signals::Signals;
use e2e::{Failure, free_port, stack, until};
use futures_util::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_hangs_leaves_the_other_metrics_of_autoscalers_alone() -> Result<(), Failure> {
    let Some(stage) = Stage::start().await? else { return left_out("kube-apiserver") };
    stage.say(10, 10);
    for name in (0..HUNG).map(hung).chain(["other".to_owned(), "both".to_owned()]) {
        stage.until_replicas(&name, 2, MINUTE).await.map_err(|error| format!("at first: {error}"))?;
    }
    // How long the autoscaler takes while everything answers.
    let mut usual = Duration::ZERO;
    for queue in [30, 10, 30, 10] {
        usual = usual.max(stage.reaction(10, queue, "other").await?);
    }

    stage.until_replicas("both", 2, MINUTE).await?;

    let hangs = Instant::now();
    stage.proxy.set_fault(Some(Fault::Hang)).await?;
    // What the hanging metric would say goes up: its autoscalers must not know. The one with a metric of each kind goes
    // up by the one that is known.
    let (other, both) = tokio::try_join!(stage.reaction(20, 30, "other"), stage.reaction(20, 30, "both"))?;
    let mut reactions = vec![other];
    let (mut queue, mut most_hanging) = (10, stage.proxy.hanging());
    while hangs.elapsed() < HANG {
        reactions.push(stage.reaction(20, queue, "other").await?);
        most_hanging = most_hanging.max(stage.proxy.hanging());
        queue = 40 - queue;
    }
    let slowest = reactions.iter().copied().max().unwrap_or_default();
    for name in (0..HUNG).map(hung) {
        assert_eq!(stage.replicas(&name).await?, 2, "{name} was scaled while nothing is known");
    }

    stage.proxy.set_fault(None).await?;
    let answers = Instant::now();
    let names: Vec<String> = (0..HUNG).map(hung).collect();
    try_join_all(names.iter().map(|name| stage.until_replicas(name, 4, MINUTE))).await?;
    let recovery = answers.elapsed();
    let rescales = stage.rescales().await?;
    println!(
        "usually {usual:.1?}; while Prometheus hangs {reactions:.1?}, with a hanging metric {both:.1?}; after it {recovery:.1?}; \
         at most {most_hanging} queries hung"
    );
    let seconds = |time: Duration| time.as_secs_f64();
    stack::write_report(
        "hang",
        &json!({
            "usual_seconds": seconds(usual),
            "reactions_seconds": reactions.iter().copied().map(seconds).collect::<Vec<_>>(),
            "both_seconds": seconds(both),
            "recovery_seconds": seconds(recovery),
            "most_hanging": most_hanging,
        }),
    )?;

    let most = usual * 2 + TIMEOUT + SYNC;
    assert!(slowest <= most, "{slowest:?} is more than {most:?}");
    assert!(both <= most, "{both:?} is more than {most:?}");
    let most = usual * 2 + PAUSE + SYNC;
    assert!(recovery <= most, "{recovery:?} is more than {most:?}");
    for name in &names {
        let of_it: Vec<&String> = rescales.iter().filter(|(of, _)| of == name).map(|(_, why)| why).collect();
        assert_eq!(of_it.len(), 2, "first to 2, then to 4, and nothing in between: {of_it:?}");
    }
    stage.cluster.stop();
    Ok(())
}

/// A control plane where one adapter answers custom metrics, from a Prometheus that may hang, and another answers
/// external metrics.
struct Stage {
    cluster: Cluster,
    signals: Signals,
    proxy: QueryProxy,
    deployments: Api<Deployment>,
    _others: (Prometheus, [e2e::cluster::ClusterAdapter; 2]),
}

impl Stage {
    async fn start() -> Result<Option<Stage>, Failure> {
        let (Some(prometheus), Some(cluster)) = (component("prometheus"), Cluster::start_own().await?) else {
            return Ok(None);
        };
        let signals = Signals::start().await;
        let prometheus = Prometheus::start(&prometheus, &[signals.target()], cluster.dir()).await?;
        let proxy = QueryProxy::start(&prometheus.url()).await?;
        let (custom, external) = (free_port()?, free_port()?);
        cluster.deploy("overlays/external", custom)?;
        let port = json!({"spec": {"service": {"port": external}}}).to_string();
        cluster.kubectl(&["patch", "apiservice", EXTERNAL, "--type=merge", "-p", &port])?;
        let rules = cluster.dir().join("rules.yaml");
        std::fs::write(&rules, RULES)?;
        // As it is shipped.
        let sharing = ["--query-sharing=5s"];
        let adapters = [
            cluster.start_adapter(custom, &rules, &proxy.url("custom"), &sharing).await?,
            cluster.start_adapter(external, &rules, &prometheus.url(), &sharing).await?,
        ];
        for name in ["v1beta2.custom.metrics.k8s.io", EXTERNAL] {
            cluster.wait_available(name).await?;
        }
        let object = |name: &str| {
            format!(
                "{{type: Object, object: {{metric: {{name: pending}}, describedObject: {{apiVersion: v1, kind: Service, \
                 name: {name}}}, target: {{type: AverageValue, averageValue: '5'}}}}}}"
            )
        };
        let external = "{type: External, external: {metric: {name: queue_length}, target: {type: AverageValue, averageValue: '5'}}}";
        let of = |name: &str, metrics: &str| APP.replace("NAME", name).replace("METRICS", metrics);
        let mut apps: Vec<String> = (0..HUNG).map(hung).map(|name| of(&name, &object(&name))).collect();
        apps.push(of("other", external));
        apps.push(of("both", &format!("{}, {external}", object("both"))));
        cluster.apply(&apps.concat())?;
        let deployments = Api::namespaced(cluster.client.clone(), cluster.namespace());
        Ok(Some(Stage { cluster, signals, proxy, deployments, _others: (prometheus, adapters) }))
    }

    /// Changes what the metrics say.
    fn say(&self, pending: u32, queue: u32) {
        let mut lines = vec![format!("queue_length{{namespace=\"default\"}} {queue}\n")];
        let names = (0..HUNG).map(hung).chain(["both".to_owned()]);
        lines.extend(
            names.map(|name| format!("pending{{namespace=\"default\",service=\"{name}\"}} {pending}\n")),
        );
        self.signals.set(lines.concat());
    }

    /// How long the autoscaler takes to follow the queue.
    async fn reaction(&self, pending: u32, queue: u32, name: &str) -> Result<Duration, Failure> {
        let began = Instant::now();
        self.say(pending, queue);
        self.until_replicas(name, i32::try_from(queue / 5)?, 2 * MINUTE).await?;
        Ok(began.elapsed())
    }

    async fn replicas(&self, name: &str) -> Result<i32, Failure> {
        let deployment = self.deployments.get(name).await?;
        Ok(deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1))
    }

    async fn until_replicas(&self, name: &str, wanted: i32, limit: Duration) -> Result<(), Failure> {
        let what = format!("{name} has {wanted} replicas");
        let waited = until(&what, limit, async || Ok(self.replicas(name).await? == wanted));
        waited.await.map_err(|error| {
            let described = self.cluster.kubectl(&["describe", "hpa", name]).unwrap_or_default();
            format!("{error}\n{described}").into()
        })
    }

    /// Each autoscaler's decisions.
    async fn rescales(&self) -> Result<Vec<(String, String)>, Failure> {
        let events: Api<Event> = Api::namespaced(self.cluster.client.clone(), self.cluster.namespace());
        let all = events.list(&ListParams::default()).await?.items;
        let rescales = all.into_iter().filter(|event| event.reason.as_deref() == Some("SuccessfulRescale"));
        Ok(rescales
            .filter(|event| event.involved_object.kind.as_deref() == Some("HorizontalPodAutoscaler"))
            .map(|event| {
                let name = event.involved_object.name.unwrap_or_default();
                (name, event.message.unwrap_or_default())
            })
            .collect())
    }
}

fn hung(number: usize) -> String {
    format!("hung-{number}")
}

/// Autoscalers by the metric that hangs: several for each worker of kube-controller-manager, which has five.
const HUNG: usize = 20;
const HANG: Duration = Duration::from_mins(1);
const MINUTE: Duration = Duration::from_mins(1);
/// `--prometheus-timeout` as it is shipped.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two queries that an open circuit breaker lets through.
const PAUSE: Duration = Duration::from_secs(5);
/// How often the autoscaler looks here.
const SYNC: Duration = Duration::from_secs(2);
const EXTERNAL: &str = "v1beta1.external.metrics.k8s.io";

const APP: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: app, image: none}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}
  minReplicas: 1
  maxReplicas: 10
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 10, periodSeconds: 1}]}
    scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 10, periodSeconds: 1}]}
  metrics: [METRICS]
";

const RULES: &str = r#"
rules:
- seriesQuery: 'pending{namespace!="",service!=""}'
  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: 'queue_length'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (namespace)'
"#;
