//! Ten ways in which a metric has no value or a wrong one, on a real control plane with a real Prometheus: the first
//! line of each explanation names the cause, and docs/troubleshooting.md shows what is printed.

use std::fmt::Write as _;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use e2e::cluster::{Cluster, ClusterAdapter};
use e2e::component::{component, left_out};
use e2e::prometheus::Prometheus;
use e2e::signals::Signals;
use e2e::tutorial::V1;
use e2e::{Failure, free_port, stack, until};
use serde_json::json;
use testkit::rows::each_row_async;

const MINUTE: Duration = Duration::from_mins(1);
const NOBODY: &str = "system:serviceaccount:shop:nobody";
const PODS: &str = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/shop/pods/*";

/// A question as a person asks it.
#[derive(Debug, Clone, Copy)]
enum Ask {
    /// `kubectl get --raw`, for a metric of the pods.
    Pods(&'static str),
    /// The same for persistent volume claims.
    Volumes(&'static str),
    /// The same for the pods, by an account that may not.
    AsNobody(&'static str),
    /// The same for the pods, after Prometheus has stopped.
    InOutage(&'static str),
    /// `adapter explain --hpa`.
    Hpa(&'static str),
}

/// What is asked, and the first line of the answer.
type Row = (Ask, &'static str);

/// Ten kinds of faults, and what the tutorial's other errors show. The outage is last, as all that follows would be it.
const ROWS: [Row; 19] = [
    // No series.
    (
        Ask::Pods("inference_latency_seconds_avg"),
        "no rule makes inference_latency_seconds_avg for pods: rules[0] makes it of the series inference_latency_seconds_sum, \
         and the metric source has no such series: no target that it scrapes exports one",
    ),
    // A relabelled pod label, which is there beside another one, or alone.
    (
        Ask::Pods("kv_cache_usage"),
        "rules[3] looks for pods in the label \"pod\" and for namespaces in \"namespace\", and kv_cache_usage has those asked \
         for in \"exported_pod\" and \"exported_namespace\": set honor_labels where it is scraped, or name these labels in \
         resources.overrides",
    ),
    (
        Ask::Pods("batch_size"),
        "no rule makes batch_size for pods: rules[4] makes it of the series batch_size, and its seriesQuery leaves out the \
         series of this name: one lacks \"pod\", and has the labels instance, job, kubernetes_pod_name, namespace",
    ),
    // An empty window.
    (
        Ask::Pods("requests_per_second"),
        "the range of the query of rules[5], 120s, holds 1 sample of requests_total, and a rate needs 2: it is shorter than \
         two scrapes",
    ),
    // A slip in the autoscaler's metric.
    (
        Ask::Hpa("slip"),
        "no rule makes request_queue_dept for pods: rules[1] makes request_queue_depth, a name like it",
    ),
    // The wrong kind: one that the rule has no label for, and one that does not exist.
    (
        Ask::Hpa("wrong-kind"),
        "no rule makes request_queue_depth for services: rules[1] makes it for namespaces, pods only: it has no label that \
         names services",
    ),
    (
        Ask::Hpa("no-kind"),
        "the metric request_queue_depth is of the object Servce web, and the cluster has no kind Servce in v1",
    ),
    // Missing RBAC: of the adapter, and of who asks.
    (
        Ask::Volumes("volume_used_bytes"),
        "the adapter may not list persistentvolumeclaims: grant its account list and watch on persistentvolumeclaims; the \
         Kubernetes API answered 403: persistentvolumeclaims is forbidden: User \"system:serviceaccount:monitoring:adapter\" \
         cannot list resource \"persistentvolumeclaims\" in API group \"\" at the cluster scope",
    ),
    (
        Ask::AsNobody("request_queue_depth"),
        "Error from server (Forbidden): pods.custom.metrics.k8s.io \"*\" is forbidden: User \
         \"system:serviceaccount:shop:nobody\" cannot get resource \"pods/request_queue_depth\" in API group \
         \"custom.metrics.k8s.io\" in the namespace \"shop\"",
    ),
    // Stale samples: those that Prometheus has dropped, and those that it still serves.
    (
        Ask::Pods("sessions_active"),
        "sessions_active has no current sample in the namespace shop: the last one is N s old, and the metric source no \
         longer serves it; its target is gone, does not answer, or no longer exports it",
    ),
    (
        Ask::Pods("tokens_waiting"),
        "the newest sample of tokens_waiting of web-0 in the namespace shop is N min old, and the metric source still serves \
         it: its exporter sends times of its own, or is scraped less often",
    ),
    // Duplicate series.
    (
        Ask::Pods("engine_queue_depth"),
        "the query of rules[9] finds 2 samples for web-0, which differ in \"engine\", and uses the last: aggregate by \
         <<.GroupBy>>",
    ),
    // Selectors that match nothing: of the pods, and of the series.
    (
        Ask::Pods("request_queue_depth?labelSelector=app%3Dwbe"),
        "there are no pods that match app=wbe in the namespace shop, where 2 of 3 have app=web, 1 of 3 has app=api",
    ),
    (
        Ask::Hpa("selector"),
        "the metric selector model=llama matches no series of request_queue_depth in the namespace shop, where model is \
         \"qwen\"",
    ),
    // The tutorial's errors that have no cause of their own above.
    (
        Ask::Hpa("unknown"),
        "no rule makes inference_latency_seconds_avg for pods: rules[0] makes it of the series inference_latency_seconds_sum, \
         and the metric source has no such series: no target that it scrapes exports one",
    ),
    (Ask::Pods("completions_per_second"), "2 objects have a value; that of web-0 is 0"),
    (Ask::Hpa("busy"), "request_queue_depth is 12 of a target of 5, a ratio of 2.40"),
    (Ask::Pods("gpu_utilization_percent"), "2 objects have a value; that of web-0 is 0"),
    // An outage, from here on.
    (
        Ask::InOutage("request_queue_depth"),
        "prometheus.monitoring.svc did not answer the query of rules[1]: cannot reach Prometheus at \
         http://prometheus.monitoring.svc:9090: Connection refused (os error 111)",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_first_line_of_an_explanation_names_the_cause_as_the_docs_show_it() -> Result<(), Failure> {
    let Some(mut stage) = Stage::start().await? else { return left_out("kube-apiserver") };
    let mut docs = Docs::read()?;
    each_row_async(ROWS, async |row| {
        if let Ask::InOutage(_) = row.0 {
            // Their questions would open the circuit breaker before ours.
            stage.cluster.kubectl(&["delete", "hpa", "--all", "--all-namespaces"]).expect("kubectl works");
            stage.prometheus.stop();
        }
        stage.check(row, &mut docs);
    })
    .await;
    assert_eq!(docs.unseen(), [""; 0], "commands in docs/troubleshooting.md that were not run");
    stage.cluster.stop();
    Ok(())
}

/// A control plane with pods, what they export, and the adapter.
struct Stage {
    cluster: Cluster,
    prometheus: Prometheus,
    signals: Signals,
    _adapter: ClusterAdapter,
}

impl Stage {
    async fn start() -> Result<Option<Stage>, Failure> {
        let (Some(program), Some(cluster)) = (component("prometheus"), Cluster::start_own().await?) else {
            return Ok(None);
        };
        let port = free_port()?;
        cluster.deploy("overlays/tutorial", port)?;
        cluster.apply(&format!("{OBJECTS}{}", workloads()))?;
        let signals = Signals::start().await;
        let exposed = exposed()?;
        signals.set(format!("{exposed}sessions_active{{namespace=\"shop\",pod=\"web-0\"}} 3\n"));
        let prometheus = Prometheus::start(&program, &[signals.target()], cluster.dir()).await?;
        let rules = cluster.dir().join("rules.yaml");
        let tutorial = std::fs::read_to_string(stack::repository().join("rules/tutorial.yaml"))?;
        std::fs::write(&rules, format!("{tutorial}{RULES}"))?;
        let often = ["--metrics-relist-interval=1s", "--metrics-max-age=10m"];
        let adapter = cluster.start_adapter(port, &rules, &prometheus.url(), &often).await?;
        cluster.wait_available(V1).await?;
        let stage = Stage { cluster, prometheus, signals, _adapter: adapter };
        until("the pods have values", MINUTE, || async {
            let depths = stage.values("request_queue_depth").await?;
            // A rate takes the longest.
            Ok(depths == 3 && stage.values("completions_per_second").await? == 2)
        })
        .await?;
        let running =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let running = ["--subresource=status", "--type=merge", "-p", &running.to_string()];
        stage.cluster.kubectl(&[&["patch", "pod", "api-0", "-n", "shop"], &running[..]].concat())?;
        until("the autoscaler reads metrics", MINUTE, || async {
            let active = "jsonpath={.status.conditions[?(@.type==\"ScalingActive\")].status}";
            Ok(stage.cluster.kubectl(&["get", "hpa", "busy", "-n", "shop", "-o", active])? == "True")
        })
        .await?;
        stage.signals.set(exposed);
        until("a series that was listed has ended", MINUTE, || async {
            Ok(stage.prometheus.query("sessions_active").await?.is_empty())
        })
        .await?;
        Ok(Some(stage))
    }

    /// How many pods have a value of a metric.
    async fn values(&self, metric: &str) -> Result<usize, Failure> {
        let (_, list) = self.cluster.json(&format!("{PODS}/{metric}")).await?;
        Ok(list["items"].as_array().map_or(0, Vec::len))
    }

    /// Asks, and compares the first line with the one that is expected, and the docs with all of it.
    fn check(&self, (ask, expected): Row, docs: &mut Docs) {
        let output = self.run(ask).unwrap_or_else(|error| panic!("{error}"));
        let said = [output.stdout, output.stderr].concat();
        let said = self.without_addresses(&String::from_utf8_lossy(&said));
        println!("$ {}\n{said}", ask.command());
        let said = normal(said);
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(first, expected, "found\n{said}");
        docs.compare(&ask.command(), &said);
    }

    fn run(&self, ask: Ask) -> Result<Output, Failure> {
        if let Ask::Hpa(name) = ask {
            let mut command = Command::new(stack::program("adapter")?);
            command.args(["explain", "--hpa", name, "-n", "shop", "--kubeconfig"]);
            return Ok(command.arg(self.cluster.kubeconfig()).output()?);
        }
        let path = ask.path();
        let mut arguments = vec!["get", "--raw", &path];
        if let Ask::AsNobody(_) = ask {
            arguments.extend(["--as", NOBODY]);
        }
        self.cluster.try_kubectl(&arguments)
    }

    /// As a cluster would have them.
    fn without_addresses(&self, said: &str) -> String {
        let prometheus = self.prometheus.url();
        let said = said.replace(&self.signals.target().address, "10.0.0.7:8080");
        let said = said.replace(prometheus.trim_start_matches("http://"), "prometheus.monitoring.svc:9090");
        said.replace("127.0.0.1", "prometheus.monitoring.svc")
    }
}

impl Ask {
    fn path(self) -> String {
        let path = match self {
            Ask::Pods(metric) | Ask::AsNobody(metric) | Ask::InOutage(metric) => format!("{PODS}/{metric}"),
            Ask::Volumes(metric) => {
                format!("{}/{metric}", PODS.replace("/pods/", "/persistentvolumeclaims/"))
            }
            Ask::Hpa(_) => String::new(),
        };
        let join = if path.contains('?') { '&' } else { '?' };
        format!("{path}{join}explain=true")
    }

    /// What a person types.
    fn command(self) -> String {
        match self {
            Ask::Pods(_) | Ask::Volumes(_) | Ask::InOutage(_) => {
                format!("kubectl get --raw '{}'", self.path())
            }
            Ask::AsNobody(_) => format!("kubectl get --raw '{}' --as {NOBODY}", self.path()),
            Ask::Hpa(name) => format!("adapter explain --hpa {name} -n shop"),
        }
    }
}

/// The commands of docs/troubleshooting.md and what follows each of them.
struct Docs(Vec<Shown>);

struct Shown {
    command: String,
    lines: Vec<String>,
    seen: bool,
}

impl Docs {
    fn read() -> Result<Docs, Failure> {
        let text = std::fs::read_to_string(stack::repository().join("docs/troubleshooting.md"))?;
        let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
        let shown = blocks.filter_map(|block| {
            let mut lines = block.lines();
            let command = lines.next()?.strip_prefix("$ ")?.to_owned();
            Some(Shown { command, lines: lines.map(normal).collect(), seen: false })
        });
        Ok(Docs(shown.collect()))
    }

    /// Every line that follows the command in the docs must be printed, in this order; `...` stands for any lines.
    fn compare(&mut self, command: &str, said: &str) {
        let mut blocks = self.0.iter_mut().filter(|shown| shown.command == command).peekable();
        assert!(blocks.peek().is_some(), "docs/troubleshooting.md does not show: $ {command}");
        for shown in blocks {
            shown.seen = true;
            assert_eq!(
                shown.lines.first().map(String::as_str),
                said.lines().next(),
                "the first line in the docs"
            );
            let mut said_lines = said.lines();
            for line in shown.lines.iter().filter(|line| *line != "...") {
                let is_said = said_lines.any(|said| said == line);
                assert!(is_said, "docs/troubleshooting.md: {line}\nis not in this order in\n{said}");
            }
        }
    }

    fn unseen(&self) -> Vec<&str> {
        self.0.iter().filter(|shown| !shown.seen).map(|shown| shown.command.as_str()).collect()
    }
}

/// A text whose times are all `N`.
fn normal(text: impl AsRef<str>) -> String {
    let mut normal = String::new();
    for line in text.as_ref().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        for (at, word) in words.iter().enumerate() {
            let is_time = word.parse::<f64>().is_ok()
                && words
                    .get(at + 1)
                    .is_some_and(|unit| matches!(unit.trim_end_matches(':'), "s" | "ms" | "min"));
            let space = if at == 0 { "" } else { " " };
            let _ = write!(normal, "{space}{}", if is_time { "N" } else { word });
        }
        normal.push('\n');
    }
    normal.truncate(normal.trim_end().len());
    normal
}

/// What the pods export, and others about them. A time of its own has what must not be new.
fn exposed() -> Result<String, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let mut text = String::new();
    for (pod, depth) in [("web-0", 9), ("web-1", 15), ("api-0", 12)] {
        let of_pod = format!("namespace=\"shop\",pod=\"{pod}\"");
        writeln!(text, "request_queue_depth{{{of_pod},model=\"qwen\"}} {depth}")?;
        if pod == "api-0" {
            continue;
        }
        writeln!(text, "gpu_utilization_percent{{{of_pod}}} 0")?;
        writeln!(
            text,
            "kv_cache_usage{{namespace=\"monitoring\",pod=\"exporter-0\",exported_namespace=\"shop\",exported_pod=\"{pod}\"}} 1"
        )?;
        writeln!(text, "batch_size{{namespace=\"shop\",kubernetes_pod_name=\"{pod}\"}} 4")?;
        writeln!(text, "requests_total{{{of_pod}}} 100 {now}")?;
        writeln!(text, "completions_total{{{of_pod}}} 100")?;
        for engine in 0..2 {
            writeln!(text, "engine_queue_depth{{{of_pod},engine=\"{engine}\"}} 3")?;
        }
    }
    writeln!(text, "tokens_waiting{{namespace=\"shop\",pod=\"web-0\"}} 7 {}", now - 150_000)?;
    writeln!(text, "volume_used_bytes{{namespace=\"shop\",persistentvolumeclaim=\"models\"}} 5")?;
    Ok(text)
}

/// Behind those of the tutorial, in their form.
const RULES: &str = r#"
    - seriesQuery: 'kv_cache_usage'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    - seriesQuery: 'batch_size{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    - seriesQuery: 'requests_total{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      name: {matches: '^(.*)_total$', as: '${1}_per_second'}
      metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
    - seriesQuery: 'volume_used_bytes{namespace!=""}'
      resources: {overrides: {namespace: {resource: namespace}, persistentvolumeclaim: {resource: persistentvolumeclaim}}}
      metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    - seriesQuery: 'sessions_active{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    - seriesQuery: 'tokens_waiting{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    - seriesQuery: 'engine_queue_depth{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
    - seriesQuery: 'completions_total{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      name: {matches: '^(.*)_total$', as: '${1}_per_second'}
      metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
"#;

/// A namespace, and an account without a grant in it.
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody, namespace: shop}
";

/// Pods of stable names, and autoscalers of them, each with one metric. `web` has several, which then scale nothing;
/// `api` has one that does.
fn workloads() -> String {
    let pods = |metric: &str| {
        format!(
            "{{type: Pods, pods: {{metric: {metric}, target: {{type: AverageValue, averageValue: '5'}}}}}}"
        )
    };
    let object = |kind: &str| {
        format!(
            "{{type: Object, object: {{metric: {{name: request_queue_depth}}, describedObject: {{apiVersion: v1, kind: {kind}, \
             name: web}}, target: {{type: Value, value: '5'}}}}}}"
        )
    };
    let workloads = [("web", "2"), ("api", "1")];
    let workloads =
        workloads.map(|(name, replicas)| WORKLOAD.replace("NAME", name).replace("REPLICAS", replicas));
    let autoscalers = [
        ("slip", pods("{name: request_queue_dept}")),
        ("wrong-kind", object("Service")),
        ("no-kind", object("Servce")),
        ("unknown", pods("{name: inference_latency_seconds_avg}")),
        ("selector", pods("{name: request_queue_depth, selector: {matchLabels: {model: llama}}}")),
        ("busy", pods("{name: request_queue_depth}")),
    ];
    let autoscalers = autoscalers.map(|(name, metric)| {
        let (target, most) = if name == "busy" { ("api", "1") } else { ("web", "2") };
        let named = AUTOSCALER.replace("NAME", name).replace("TARGET", target).replace("MOST", most);
        named.replace("METRIC", &metric)
    });
    workloads.concat() + &autoscalers.concat()
}

const WORKLOAD: &str = "
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: NAME, namespace: shop}
spec:
  replicas: REPLICAS
  podManagementPolicy: Parallel
  serviceName: NAME
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: app, image: none}]}
";

const AUTOSCALER: &str = "
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: TARGET}
  minReplicas: 1
  maxReplicas: MOST
  metrics: [METRIC]
";
