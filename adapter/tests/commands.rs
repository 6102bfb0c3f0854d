//! Commands other than `serve`, seen from outside: what they print, and how they end.

use std::path::Path;
use std::process::{Command, Output};

use testkit::router;
use testkit::rows::each_row;
use testkit::scripted::{Server, answer};

const RESOURCES: &str = "resources: {template: <<.Resource>>}";

#[test]
fn check_ends_by_what_the_rules_are_worth() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = format!("rules: [{{seriesQuery: x, {RESOURCES}, metricsQuery: 'x{{<<.LabelMatchers>>}}'}}]");
    let warned = format!("rules: [{{seriesQuery: x, {RESOURCES}, metricsQuery: x}}]");
    let useless = format!("rules: [{{seriesQuery: x, {RESOURCES}}}]");
    let config_map = "{apiVersion: v1, kind: ConfigMap, data: {config.yaml: 'rules: []'}}".to_owned();
    let broken = "rules: [{seriesQuerry: x}]".to_owned();
    let rows = [
        ("good", good, 0, 0),
        ("warned", warned.clone(), 0, 1),
        ("allowed", format!("# adapter-lint: allow namespace-ignored\n{warned}"), 0, 0),
        ("a_note", config_map, 0, 0),
        ("useless", useless, 1, 1),
        ("broken", broken, 64, 64),
    ];
    each_row(rows, |(name, rules, status, strict)| {
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, rules).expect("writable");
        let (output, text) = run(&["check"], &[&file]);
        assert_eq!(output.status.code(), Some(status), "{text}");
        let (output, text) = run(&["check", "--strict"], &[&file]);
        assert_eq!(output.status.code(), Some(strict), "{text}");
    });
}

#[test]
fn check_shows_each_finding_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yaml");
    let rules = format!(
        "rules:\n- seriesQuery: x\n  {RESOURCES}\n  metricsQuery: x\n- seriesQuerry: y\n- seriesQuery: z\n  {RESOURCES}\n  \
         metricsQuery: 'sum(z{{<<.LabelMatchers>>}}[1m])'\n"
    );
    std::fs::write(&file, rules).expect("writable");
    let (output, text) = run(&["check"], &[&file]);
    assert_eq!(output.status.code(), Some(64), "{text}");
    let text = text.replace(&file.display().to_string(), "rules.yaml");
    assert_eq!(text, include_str!("commands/report.txt"));
}

#[test]
fn check_reports_to_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a,b.yaml");
    std::fs::write(&file, format!("rules: [{{seriesQuery: x, {RESOURCES}, metricsQuery: 'x%'}}]"))
        .expect("writable");
    let (_, text) = run(&["check", "--format=json"], &[&file]);
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let found = &document["files"][0]["diagnostics"][1];
    assert_eq!(found["lint"], "not-promql", "{text}");
    assert_eq!(
        (&found["line"], &found["column"], &found["endColumn"]),
        (&1.into(), &78.into(), &82.into()),
        "{text}"
    );
    assert_eq!(found["query"]["text"], "x%", "{text}");
    assert_eq!(document["files"][0]["summary"], "1 custom and 0 external rules, resource rules: no");

    let (_, text) = run(&["check", "--format=github"], &[&file]);
    let name = file.display().to_string().replace(',', "%2C");
    let line =
        format!("::warning file={name},line=1,col=78,endColumn=82,title=not-promql::rules[0].metricsQuery: ");
    assert!(text.lines().any(|found| found.starts_with(&line) && found.contains("\"x%25\"")), "{text}");
}

#[test]
fn check_names_the_file_that_it_cannot_read() {
    let folder = tempfile::tempdir().expect("a folder");
    each_row(["text", "json", "github"], |format| {
        let format = format!("--format={format}");
        let (output, text) = run(&["check", &format], &[folder.path(), Path::new("/nosuch/rules.yaml")]);
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains("cannot read the rule file /nosuch/rules.yaml"), "{text}");
        assert!(text.contains(&format!("cannot read the rule file {}", folder.path().display())), "{text}");
    });
}

fn run(arguments: &[&str], files: &[&Path]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_adapter"))
        .args(arguments)
        .args(files)
        .output()
        .expect("the program was built");
    let text = String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).expect("UTF-8");
    (output, text)
}

#[test]
fn the_tests_of_the_shipped_rules_pass() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
    let mut files = vec![rules.join("tutorial.test.yaml")];
    files.extend(presets().iter().map(|preset| preset.join("test.yaml")));
    each_row(files, |file| {
        let (output, text) = run(&["test"], &[&file]);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("  SUCCESS"), "{text}");
    });
}

#[test]
fn a_test_that_fails_shows_what_differs() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    };
    write(
        "rules.yaml",
        &format!(
            "rules: [{{seriesQuery: x, {RESOURCES}, metricsQuery: 'sum(x{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'}}]"
        ),
    );
    let test = |expected: &str| {
        format!(
            "rule_files: [rules.yaml]\ntests:\n- name: one\n  interval: 1m\n  input_series:\n  - {{series: 'x{{namespace=\"n\",pod=\"a\"}}', values: \
             '1 2'}}\n  - {{series: 'x{{namespace=\"n\",pod=\"b\"}}', values: '3 4'}}\n  requests:\n  - at: 1m\n    path: \
             /apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/x\n    {expected}\n"
        )
    };
    let query = "sum(x{namespace=\"n\",pod=~\"a|b\"}) by (pod)";
    let rows = [
        (test("values: {a: 2, b: 4}"), 0, vec!["SUCCESS"]),
        (
            test("values: {a: 2, b: 5}"),
            1,
            vec!["  values, expected (-) and found (+):", "    a: 2", "  - b: 5", "  + b: 4"],
        ),
        (test("values: {a: 2}"), 1, vec!["  + b: 4"]),
        (test("promql: ['x']"), 1, vec!["  - x", query]),
        (test("error: no rule"), 1, vec!["  - no rule", "  + a: 2"]),
        (test("values: {a: 2, b: 4}").replace("/x\n", "/y\n"), 1, vec!["could not find the metric y"]),
        (test("values: {a: some}"), 64, vec!["is not a test file", "line 11", "expected a quantity like"]),
        (test("value: {a: 2}"), 64, vec!["unknown field `value`"]),
        (test("values: {a: 2}").replace("1 2", "1 2x99999999"), 64, vec!["expected at most 120000 values"]),
        (test("values: {}").replace("rules.yaml", "none.yaml"), 64, vec!["cannot read the rule file"]),
        ("rules: []".to_owned(), 64, vec!["is not a test file"]),
    ];
    each_row(rows, |(text, status, expected)| {
        let (output, printed) = run(&["test"], &[&write("test.yaml", &text)]);
        assert_eq!(output.status.code(), Some(status), "{printed}");
        for line in expected {
            assert!(printed.contains(line), "expected {line:?} in\n{printed}");
        }
    });
}

#[test]
fn a_program_that_is_not_a_prometheus_is_named() {
    let tutorial = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/tutorial.test.yaml");
    let rows = [
        ("--prometheus=/nosuch/prometheus", "cannot start /nosuch/prometheus: No such file or directory"),
        ("--prometheus=/bin/false", "expected a Prometheus that starts, found exit status: 1"),
    ];
    each_row(rows, |(program, expected)| {
        let (output, text) = run(&["test", program], &[&tutorial]);
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains(expected), "{text}");
    });
}

#[test]
fn requests_of_a_test_fall_back_on_what_earlier_ones_were_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    };
    write(
        "rules.yaml",
        &format!(
            "rules: [{{seriesQuery: x, {RESOURCES}, onEmpty: last(5m), metricsQuery: 'sum(x{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'}}]"
        ),
    );
    let path = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/a/x";
    let request = |at: &str, expected: &str| format!("  - {{at: {at}, path: {path}, {expected}}}\n");
    let requests = [
        request("0s", "values: {a: 7}"),
        request("5m", "values: {a: 7}"),
        request("6m", "error: could not find the metric x"),
    ];
    let text = format!(
        "rule_files: [rules.yaml]\ntests:\n- name: a series that ends\n  interval: 1m\n  input_series: [{{series: \
         'x{{namespace=\"n\",pod=\"a\"}}', values: '7 stale'}}]\n  requests:\n{}",
        requests.concat()
    );
    let (output, printed) = run(&["test"], &[&write("test.yaml", &text)]);
    assert_eq!(output.status.code(), Some(0), "{printed}");
}

#[test]
fn roles_are_those_of_the_rules_resources() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yaml");
    let rules = "rules:\n- seriesQuery: x\n  resources: {overrides: {ns: {resource: namespace}, deploy: {resource: deployment}, pool: {group: \
                 inference.networking.k8s.io, resource: inferencepools}}}\n  metricsQuery: 'x{<<.LabelMatchers>>}'\n";
    std::fs::write(&file, rules).expect("writable");
    let (output, text) = run(&["rbac"], &[&file]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let granted = |group: &str, resource: &str| {
        format!("- {{apiGroups: [{group:?}], resources: [{resource:?}], verbs: [list, watch]}}\n")
    };
    let expected = [
        granted("", "pods"),
        granted("", "namespaces"),
        granted("apps", "deployments"),
        granted("inference.networking.k8s.io", "inferencepools"),
    ];
    for line in &expected {
        assert!(text.contains(line), "expected {line:?} in\n{text}");
    }
    assert_eq!(text.matches("verbs:").count(), expected.len(), "{text}");

    std::fs::write(&file, format!("rules: [{{seriesQuery: x, {RESOURCES}, metricsQuery: x}}]"))
        .expect("writable");
    let (_, text) = run(&["rbac"], &[&file]);
    assert!(
        text.contains("By resources.template of rules[0]") && text.contains(&granted("", "services")),
        "{text}"
    );
    let (output, text) = run(&["rbac"], &[Path::new("/nosuch/rules.yaml")]);
    assert_eq!(output.status.code(), Some(64), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_tried_on_a_prometheus() {
    let prometheus = Server::plain(|request| {
        let of = |text: &str| request.target.contains(text);
        let vector = |metric: &str, value: &str| {
            format!(
                r#"{{"resultType":"vector","result":[{{"metric":{metric},"value":[1795472555,"{value}"]}}]}}"#
            )
        };
        let data = match request.path() {
            "/api/v1/series" if of("queue_depth") => {
                r#"[{"__name__":"queue_depth","namespace":"default","pod":"a"}]"#.to_owned()
            }
            "/api/v1/series" => "[]".to_owned(),
            _ if of("timestamp") => vector("{}", "7"),
            _ if of("count") => vector(r#"{"namespace":"default","pod":"a"}"#, "1"),
            _ => vector(r#"{"pod":"a"}"#, "12.5"),
        };
        answer(
            200,
            &[("content-type", "application/json")],
            format!(r#"{{"status":"success","data":{data}}}"#),
        )
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yaml");
    let rule = |name: &str| {
        format!(
            "- seriesQuery: {name}\n  resources: {{overrides: {{namespace: {{resource: namespace}}, pod: {{resource: pod}}}}}}\n  metricsQuery: \
             'sum({name}{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'\n"
        )
    };
    std::fs::write(&file, format!("rules:\n{}{}", rule("queue_depth"), rule("absent"))).expect("writable");
    let url = format!("--prometheus-url=http://{}", prometheus.address);
    let (output, text) = run(&["check", &url], &[&file]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let expected = [
        "warning[live-no-metric]: rules[1] makes no metric: its series query finds no series",
        "rules[0]: 1 kinds of series\n",
        "  pods/queue_depth: default/a = 12500m (newest sample 7 s old)\n",
        "  namespaces/queue_depth: no value for default (newest sample 7 s old)\n",
        "2 custom and 0 external metrics\n",
    ];
    for line in expected {
        assert!(text.contains(line), "expected {line:?} in\n{text}");
    }
    let (output, _) = run(&["check", "--strict", &url], &[&file]);
    assert_eq!(output.status.code(), Some(1));
    let (_, text) = run(&["check", "--format=json", &url], &[&file]);
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["files"][1]["live"][0]["metrics"][1]["values"][0][1], "12500m", "{text}");

    let url = format!("--prometheus-url=http://{}", router::closed_address());
    let (output, text) = run(&["check", &url], &[&file]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error[live-series]: cannot list the series of queue_depth: "), "{text}");
}

fn presets() -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/presets");
    let mut presets: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    presets.sort();
    assert_eq!(presets.len(), rules::presets::Preset::ALL.len());
    presets
}

#[test]
fn autoscalers_are_checked_against_the_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    };
    let rules = write(
        "rules.yaml",
        "rules:\n- seriesQuery: queue_depth\n  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: \
         'sum(queue_depth{<<.LabelMatchers>>}) by (<<.GroupBy>>)'\n- seriesQuery: cache_used_ratio\n  resources: {overrides: {namespace: \
         {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: 'sum(cache_used_ratio{<<.LabelMatchers>>}) by (<<.GroupBy>>)'\n- \
         seriesQuery: hits_total\n  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}\n  name: {as: \
         hits}\n  metricsQuery: 'sum(rate(hits_total{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'\nexternalRules:\n- seriesQuery: lag\n  \
         resources: {namespaced: false}\n  metricsQuery: 'sum(lag{<<.LabelMatchers>>})'\n- seriesQuery: backlog\n  resources: {namespaced: \
         false}\n  onEmpty: zero\n  metricsQuery: 'sum(backlog{<<.LabelMatchers>>})'\n- seriesQuery: '{__name__=~\"spool_.*\"}'\n  \
         resources: {namespaced: false}\n  name: {as: spool}\n  onEmpty: zero\n  metricsQuery: \
         'sum(<<.Series>>{<<.LabelMatchers>>})'\n- seriesQuery: waiting\n  resources: {namespaced: false}\n  onEmpty: \
         last(10m)\n  metricsQuery: 'sum(waiting{<<.LabelMatchers>>})'\n",
    );
    let hpa = |version: &str, least: usize, metric: &str| {
        format!(
            "apiVersion: {version}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: a}}\nspec:\n  scaleTargetRef: {{apiVersion: apps/v1, kind: \
             Deployment, name: a}}\n  minReplicas: {least}\n  maxReplicas: 5\n  metrics:\n  - {metric}\n"
        )
    };
    let pods = |name: &str, target: &str| {
        format!(
            "{{type: Pods, pods: {{metric: {{name: {name}}}, target: {{type: AverageValue, averageValue: {target}}}}}}}"
        )
    };
    let external = |name: &str| {
        format!(
            "{{type: External, external: {{metric: {{name: {name}}}, target: {{type: AverageValue, averageValue: 5}}}}}}"
        )
    };
    let service = "{type: Object, object: {metric: {name: hits}, describedObject: {apiVersion: v1, kind: Service, name: web}, target: {type: \
                   Value, value: 100m}}}";
    let v2 = |least, metric: &str| hpa("autoscaling/v2", least, metric);
    let rows = [
        (v2(1, &pods("queue_depth", "\"10\"")), 0, "1 autoscalers"),
        (v2(1, service), 0, "1 autoscalers"),
        (v2(0, &external("backlog")), 0, "1 autoscalers"),
        (
            v2(1, &pods("queue_dept", "10")),
            1,
            "no rule makes the metric \"queue_dept\" of pods; did you mean \"queue_depth\"?",
        ),
        (
            v2(1, &pods("hits", "10")),
            1,
            "no rule makes the metric \"hits\" of pods; rules[2] makes it, and maps no label to pods",
        ),
        (
            v2(1, &pods("lag", "10")),
            1,
            "externalRules[0] makes an external metric of this name: type External",
        ),
        (
            v2(1, &external("queue_depth")),
            1,
            "rules[0] makes a custom metric of this name: type Pods or Object",
        ),
        (
            v2(1, &pods("queue_depth", "10").replace("AverageValue", "Value")),
            1,
            "expected the target type AverageValue, found \"Value\"",
        ),
        (v2(1, &pods("queue_depth", "0")), 1, "expected a target above 0, found 0"),
        (v2(1, &pods("queue_depth", "ten")), 1, "expected a quantity like"),
        (v2(1, &pods("cache_used_ratio", "80")), 1, "a target of 80 is never reached"),
        (v2(0, &external("lag")), 1, "externalRules[0] says nothing of no samples"),
        (v2(0, &external("spool")), 1, "externalRules[2] is not listed without series"),
        (v2(0, &external("waiting")), 1, "externalRules[3] has one only as long as onEmpty: last(10m)"),
        (
            v2(0, &pods("queue_depth", "10")),
            1,
            "expected an Object or External metric beside minReplicas: 0, found none",
        ),
        (v2(9, &pods("queue_depth", "10")), 1, "expected minReplicas of at most maxReplicas, 5, found 9"),
        (
            hpa("autoscaling/v2beta2", 1, &pods("queue_depth", "10")),
            64,
            "expected autoscaling/v2, found autoscaling/v2beta2",
        ),
        (
            "apiVersion: v1\nkind: Service".to_owned(),
            64,
            "expected an object of the kind HorizontalPodAutoscaler, found Service",
        ),
        ("a: [".to_owned(), 64, "expected a HorizontalPodAutoscaler of autoscaling/v2: "),
        (
            v2(1, "{type: Pods, pods: {metric: queue_depth}}"),
            64,
            "expected a HorizontalPodAutoscaler of autoscaling/v2: ",
        ),
    ];
    each_row(rows, |(text, status, expected)| {
        let hpa = format!("--hpa={}", write("hpa.yaml", &text).display());
        let (output, text) = run(&["check", "--strict", &hpa], &[&rules]);
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains(expected), "expected {expected:?} in\n{text}");
    });
}

#[test]
fn the_autoscalers_of_the_presets_and_of_the_tutorial_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pairs: Vec<_> =
        presets().iter().map(|preset| (preset.join("rules.yaml"), preset.join("hpa.yaml"))).collect();
    pairs.push((root.join("rules/tutorial.yaml"), root.join("deploy/overlays/tutorial/hpa.yaml")));
    // The example of a ScaledObject that became an HPA.
    let folder = tempfile::tempdir().expect("a folder");
    let page = std::fs::read_to_string(root.join("docs/migrate-keda.md")).expect("a page");
    let example = |mark: &str| {
        let text = page.split(&format!("<!-- {mark} -->\n```yaml\n")).nth(1).expect("an example");
        let path = folder.path().join(format!("{mark}.yaml"));
        std::fs::write(&path, text.split("```").next().expect("a text")).expect("writable");
        path
    };
    pairs.push((example("rules"), example("hpa")));
    each_row(pairs, |(rules, hpa)| {
        let (output, text) = run(&["check", "--strict", &format!("--hpa={}", hpa.display())], &[&rules]);
        assert_eq!(output.status.code(), Some(0), "{text}");
    });
}
