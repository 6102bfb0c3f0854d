//! The adapter over the servers that users have: one suite, run over each, shown as one table.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use e2e::api::values;
use e2e::backend::{Backend, Data, Kind};
use e2e::component::{component, left_out};
use e2e::process::Process;
use e2e::stack::{self, Adapter};
use e2e::{Failure, until};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default";
const MANY: usize = 3000;

/// One test passes by what `end=` of a listing and stale samples come to, and one fails.
const RULE_TESTS: &str = r#"
rule_files: [rules.yaml]
tests:
- name: series that end and begin
  interval: 1m
  input_series:
  - {series: 'depth{namespace="n",pod="a"}', values: '7 stale'}
  - {series: 'late{namespace="n",pod="a"}', values: '_ _ 3'}
  - {series: 'served_total{namespace="n",pod="a"}', values: '0+60x100'}
  requests:
  - {at: 0s, path: /apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/depth, values: {a: 7}}
  - {at: 2m, path: /apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/depth, values: {}}
  - {at: 1m, path: /apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/late, error: could not find the metric late}
  - {at: 2m, path: /apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/late, values: {a: 3}}
  - {at: 90m, path: /apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/served, values: {a: 1}}
- name: a value that does not come
  input_series: [{series: 'depth{namespace="n",pod="a"}', values: '7'}]
  requests: [{at: 0s, path: /apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/depth, values: {a: 8}}]
"#;
const TESTED_RULES: &str = r#"
rules:
- seriesQuery: '{__name__=~"depth|late",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'served_total{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: served}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
"#;

/// Each test has a Prometheus of its own: its series begin where the others' do.
#[test]
fn rule_tests_have_the_same_outcome_on_a_real_prometheus() -> Result<(), Failure> {
    let programs = [Kind::Prometheus3, Kind::Prometheus2].map(|kind| component(kind.program()));
    if programs.iter().all(Option::is_none) {
        return left_out("prometheus");
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("rules.yaml"), TESTED_RULES)?;
    let file = folder.path().join("test.yaml");
    std::fs::write(&file, RULE_TESTS)?;
    let tutorial = stack::repository().join("rules/tutorial.test.yaml");
    let adapter = stack::program("adapter")?;
    let engines = std::iter::once(None).chain(programs.into_iter().flatten().map(Some));
    for engine in engines {
        let run = |file: &Path| -> Result<(Option<i32>, String), Failure> {
            let mut command = Command::new(&adapter);
            command.arg("test").arg(file);
            if let Some(program) = &engine {
                command.arg("--prometheus").arg(program);
            }
            let output = command.output()?;
            Ok((output.status.code(), String::from_utf8([output.stdout, output.stderr].concat())?))
        };
        let (status, text) = run(&tutorial)?;
        assert_eq!(status, Some(0), "{engine:?}: {text}");
        let (status, text) = run(&file)?;
        let failures = text.matches("name: ").count();
        assert_eq!((status, failures), (Some(1), 1), "{engine:?}: {text}");
        assert!(text.contains("name: a value that does not come") && text.contains("+ a: 7"), "{text}");
    }
    Ok(())
}

/// Beside the tutorial's rules.
const RULES: &str = r#"
    # Names every pod twice.
    - seriesQuery: 'pod_load{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      name: {as: load_times_pods}
      metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) * scalar(count(<<.Series>>{<<.LabelMatchers>>}))'
    - seriesQuery: 'retired_depth{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
    # OpenTelemetry's names.
    - seriesQuery: '{"queue.depth","k8s.namespace.name"!="","k8s.pod.name"!=""}'
      resources: {overrides: {k8s.namespace.name: {resource: namespace}, k8s.pod.name: {resource: pod}}}
      metricsQuery: 'sum({"<<.Series>>",<<.LabelMatchers>>}) by (<<.GroupBy>>)'
  external:
    - seriesQuery: 'http_requests_total{namespace!=""}'
      resources: {overrides: {namespace: {resource: namespace}}}
      name: {as: steady_rate}
      metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>,kind="steady"}[2m]))'
    - seriesQuery: 'http_requests_total{namespace!=""}'
      resources: {overrides: {namespace: {resource: namespace}}}
      name: {as: uneven_rate}
      metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>,kind="uneven"}[2m]))'
    - seriesQuery: 'http_requests_total{namespace!=""}'
      resources: {overrides: {namespace: {resource: namespace}}}
      name: {as: unknown_function}
      metricsQuery: 'nosuch(<<.Series>>{<<.LabelMatchers>>})'
    - seriesQuery: 'http_requests_total{namespace!=""}'
      resources: {overrides: {namespace: {resource: namespace}}}
      name: {as: range_of_time}
      metricsQuery: '<<.Series>>{<<.LabelMatchers>>}[2m]'
    - seriesQuery: 'http_requests_total{namespace!=""}'
      resources: {overrides: {namespace: {resource: namespace}}}
      name: {as: one_number}
      metricsQuery: 'scalar(sum(pod_load{<<.LabelMatchers>>}))'
    - seriesQuery: 'http_requests_total{namespace!=""}'
      resources: {overrides: {namespace: {resource: namespace}}}
      name: {as: warned_of}
      metricsQuery: 'sum(pod_load{<<.LabelMatchers>>}) or quantile(2, pod_load{<<.LabelMatchers>>})'
"#;

/// Twenty minutes around now, so that nothing depends on how long the test takes.
fn data() -> Data {
    let mut data = Data::default();
    let often = || (-600..=600).step_by(15);
    let seldom = || (-600..=600).step_by(60);
    for (pod, depth, busy, requests, latency) in
        [("model-0", 3.0, 40.0, 10.0, 0.05), ("model-1", 7.0, 82.5, 20.0, 0.15)]
    {
        let labels = [("namespace", "default"), ("pod", pod), ("app", "model-server")];
        let total = |second: i64| (second + 600) as f64 * requests;
        data.series("up", &labels, often(), |_| 1.0);
        let otel = [("k8s.namespace.name", "default"), ("k8s.pod.name", pod)];
        data.series("queue.depth", &otel, often(), |_| depth * 10.0);
        data.series("request_queue_depth", &labels, often(), |_| depth);
        data.series("gpu_utilization_percent", &labels, often(), |_| busy);
        data.series("inference_latency_seconds_count", &labels, often(), total);
        data.series("inference_latency_seconds_sum", &labels, often(), |second| total(second) * latency);
    }
    for number in 0..MANY {
        let pod = format!("model-server-7c9f8d6b5-{number:06}");
        let labels = [("namespace", "default"), ("pod", pod.as_str()), ("app", "load")];
        data.series("up", &labels, seldom(), |_| 1.0);
        data.series("pod_load", &labels, seldom(), |_| 2.0);
    }
    let labels = |kind| [("namespace", "default"), ("kind", kind)];
    data.series("http_requests_total", &labels("steady"), often(), |second| (second + 600) as f64 * 10.0);
    // Nothing for a quarter of a minute, then 300.
    data.series("http_requests_total", &labels("uneven"), often(), |second| {
        ((second + 600) / 30) as f64 * 300.0
    });
    let long_ago = (-3 * 86_400..-3 * 86_400 + 600).step_by(15);
    data.series("retired_depth", &[("namespace", "default"), ("pod", "model-0")], long_ago, |_| 1.0);
    data
}

/// What the cases found, and which of it is wrong.
#[derive(Default)]
struct Found {
    cells: Vec<(&'static str, String)>,
    faults: Vec<String>,
}

impl Found {
    fn case(&mut self, name: &'static str, cell: String, right: bool) {
        if !right {
            self.faults.push(format!("{name}: {cell}"));
        }
        self.cells.push((name, cell));
    }
}

async fn suite(backend: &Backend, adapter: &Adapter) -> Result<Found, Failure> {
    let api = &adapter.api;
    let mut found = Found::default();
    let external = async |metric: &str| api.get(&format!("{EXTERNAL}/{metric}")).await;
    let message = |status: &Value| status["message"].as_str().unwrap_or_default().to_owned();

    // The tutorial's rules: values that are the same everywhere.
    for (metric, expected) in [
        ("request_queue_depth", [3.0, 7.0]),
        ("gpu_utilization_percent", [40.0, 82.5]),
        ("inference_latency_seconds_avg", [0.05, 0.15]),
    ] {
        let (code, list) = api.get(&format!("{CUSTOM}/{metric}?labelSelector=app%3Dmodel-server")).await?;
        let read = if code == 200 { values(&list)? } else { Vec::new() };
        let read: Vec<f64> = read.iter().map(|(_, value)| *value).collect();
        found.case(metric, format!("{read:?}"), read == expected);
    }
    let (code, list) = api.get(&format!("{CUSTOM}/queue.depth?labelSelector=app%3Dmodel-server")).await?;
    let read: Vec<f64> = match code {
        200 => values(&list)?.into_iter().map(|(_, value)| value).collect(),
        _ => Vec::new(),
    };
    // Where the rule's series cannot even be asked for, the answer is that they were not listed.
    let right = if backend.kind.keeps_quoted_names() { read == [30.0, 70.0] } else { code == 503 };
    found.case("names with dots", format!("{code}, {read:?}"), right);
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let (_, list) = external("steady_rate").await?;
    let at = list["items"][0]["timestamp"].as_str().unwrap_or_default().to_owned();
    let age = before as i64 - seconds_of(&at)?;
    found.case(
        "age of a value, seconds",
        if age.abs() <= 1 { "0".to_owned() } else { age.to_string() },
        (-60..=31).contains(&age),
    );
    for (metric, tolerance) in [("steady_rate", 0.0), ("uneven_rate", 0.2)] {
        let (_, list) = external(metric).await?;
        let rate = one_value(&list);
        found.case(metric, format!("{rate}"), (rate - 10.0).abs() <= 10.0 * tolerance);
    }
    let (code, list) = external("one_number").await?;
    let value = one_value(&list);
    found.case("a scalar", format!("{code}, {value}"), code == 200 && value == 6000.0);

    // Nothing, and errors.
    let (code, list) = external("steady_rate?labelSelector=topic%3Dnone").await?;
    let items = list["items"].as_array().map_or(usize::MAX, Vec::len);
    found.case("an empty result", format!("{code}, {items} items"), code == 200 && items == 0);
    let (code, status) = external("unknown_function").await?;
    let text = message(&status);
    let right = code == 500 && text.contains("nosuch") && text.contains("externalRules[2]");
    found.case("an unknown function", format!("{code}, {}", short(&text)), right);
    let (code, status) = external("range_of_time").await?;
    let text = message(&status);
    found.case("a range vector", format!("{code}, {}", short(&text)), code == 500 && text.contains("matrix"));

    // Names of thousands of pods.
    let (code, list) = api.get(&format!("{CUSTOM}/load_times_pods?labelSelector=app%3Dload")).await?;
    let read = if code == 200 { values(&list)? } else { Vec::new() };
    let right = read.len() == MANY && read.iter().all(|(_, value)| *value == 2.0 * MANY as f64);
    let cell =
        if right { format!("{code}, {} values", read.len()) } else { format!("{code}, {}", message(&list)) };
    found.case("3000 names in a query", cell, right);

    // What ended days ago is not listed.
    let (_, list) = api.get("/apis/custom.metrics.k8s.io/v1beta1").await?;
    let listed: Vec<&str> = list["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    let retired = listed.contains(&"pods/retired_depth");
    found.case("series that ended", if retired { "listed" } else { "not listed" }.to_owned(), !retired);
    let expected = if backend.kind.keeps_quoted_names() { 10 } else { 8 };
    found.case("metrics of pods and namespaces", listed.len().to_string(), listed.len() == expected);

    // Warnings reach the log and are counted; only Prometheus 3 warns of PromQL.
    let warnings = async || -> Result<f64, Failure> {
        let (_, text) = api.text("/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix("adapter_source_warnings_total "));
        Ok(line.ok_or("no counter of warnings")?.parse()?)
    };
    let before = warnings().await?;
    let (code, list) = external("warned_of").await?;
    let warned = warnings().await? - before;
    let value = one_value(&list);
    let expected = if backend.kind == Kind::Prometheus3 { 1.0 } else { 0.0 };
    let logged = adapter.process.log().contains("its answer may be partial");
    let right = code == 200 && value == 6000.0 && warned == expected && logged == (expected > 0.0);
    found.case("warnings", format!("{value}, {warned} warnings"), right);
    Ok(found)
}

/// A path that the server does not have: the log says what to look at.
async fn wrong_path(backend: &Backend, rules: &Path, dir: &Path) -> Result<String, Failure> {
    let dir = dir.join("wrong-path");
    std::fs::create_dir_all(&dir)?;
    let arguments = [
        "--standalone".to_owned(),
        format!("--config={}", rules.display()),
        "--secure-port=0".to_owned(),
        format!("--standalone-dir={}", dir.join("standalone").display()),
        format!("--prometheus-url={}/elsewhere", backend.root()),
    ];
    let mut adapter = Process::start("adapter", &stack::program("adapter")?, &arguments, &dir)?;
    adapter.wait_for_log("is the path of --prometheus-url right?", Duration::from_mins(1)).await?;
    let log = adapter.log();
    let (_, text) = log.split_once("Prometheus answered ").ok_or("no error in the log")?;
    Ok(short(text.split("(is the path").next().unwrap_or_default()))
}

fn one_value(list: &Value) -> f64 {
    let value = list["items"][0]["value"].as_str();
    value
        .and_then(|value| Some(apiservice::quantity::Quantity::parse(value).ok()?.as_f64()))
        .unwrap_or(f64::NAN)
}

fn seconds_of(rfc3339: &str) -> Result<i64, Failure> {
    let time: Time = serde_json::from_value(json!(rfc3339))?;
    Ok(time.0.as_second())
}

fn short(text: &str) -> String {
    let cause = ["Prometheus answered ", "]: "].iter().find_map(|before| text.rsplit_once(before));
    let text = cause.map_or(text, |(_, cause)| cause);
    text.chars().take(38).collect::<String>().trim().to_owned()
}

#[tokio::test]
async fn every_backend_answers_the_same_suite() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir()?;
    let tutorial = std::fs::read_to_string(stack::repository().join("rules/tutorial.yaml"))?;
    let rules = dir.path().join("rules.yaml");
    std::fs::write(&rules, format!("{}{}", tutorial.trim_end(), RULES))?;
    let data = data();
    let mut table: BTreeMap<&'static str, BTreeMap<&'static str, String>> = BTreeMap::new();
    let (mut order, mut ran, mut faults, mut absent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for kind in Kind::ALL {
        let started = Instant::now();
        let Some(backend) = Backend::start(kind, &data, dir.path()).await? else {
            absent.push(kind);
            continue;
        };
        let folder = dir.path().join(kind.program());
        let source = [format!("--prometheus-url={}", backend.url())];
        let adapter = stack::start_adapter_with(&rules, &source, &folder).await?;
        until("every metric is listed", Duration::from_mins(1), || async {
            let (code, _) = adapter.api.get(&format!("{EXTERNAL}/steady_rate")).await?;
            Ok(code == 200)
        })
        .await?;
        let mut found = suite(&backend, &adapter).await?;
        let hinted = wrong_path(&backend, &rules, &folder).await;
        let right = hinted.is_ok();
        found.case("a wrong path", hinted.unwrap_or_else(|error| error.to_string()), right);
        found.case("seconds", format!("{:.1}", started.elapsed().as_secs_f64()), true);
        for (case, cell) in found.cells {
            if !order.contains(&case) {
                order.push(case);
            }
            table.entry(case).or_default().insert(kind.name(), cell);
        }
        faults.extend(found.faults.into_iter().map(|fault| format!("{}: {fault}", kind.name())));
        ran.push(kind.name());
    }
    let line = |case: &str, cell: &dyn Fn(&str) -> String| {
        let cells = ran.iter().map(|name| format!("{:42}", cell(name)));
        format!("{case:32}{}", cells.collect::<String>())
    };
    let head = line("", &|name| name.to_owned());
    let lines =
        order.iter().map(|case| line(case, &|name| table[case].get(name).cloned().unwrap_or_default()));
    let text = std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n");
    // Beside what the harness keeps to itself: a table is to be seen.
    writeln!(std::io::stdout(), "\n{text}\n")?;
    stack::write_report("backends", &json!({"cases": table}))?;
    assert_eq!(faults, Vec::<String>::new());
    for kind in absent {
        left_out(kind.program())?;
    }
    Ok(())
}
