//! The chart as Helm renders it, without a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use e2e::component::{component, left_out};
use e2e::helm::{Helm, chart, files_of_values, objects, tutorials_arguments, tutorials_values};
use e2e::{Failure, stack};
use serde_json::{Value, json};
use testkit::rows::each_row;

#[test]
fn helm_finds_no_fault_with_any_file_of_values() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let Some(helm) = Helm::new(dir.path()) else { return left_out("helm") };
    let chart = chart();
    for file in files_of_values()? {
        let file = file.display().to_string();
        helm.run(&["lint", "--strict", &chart.display().to_string(), "-f", &file])?;
        let objects = helm.objects("release", &chart, &["-f", &file])?;
        for object in &objects {
            let name = object["metadata"]["name"].as_str().ok_or_else(|| format!("{file}: {object}"))?;
            assert!(!name.is_empty() && name.len() <= 63, "{file}: {object}");
        }
        assert!(objects.iter().any(|object| object["kind"] == "Deployment"), "{file}");
    }
    Ok(())
}

#[test]
fn a_value_that_is_misspelt_or_of_the_wrong_type_is_refused_with_its_path() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let Some(helm) = Helm::new(dir.path()) else { return left_out("helm") };
    let chart = chart().display().to_string();
    let rows = [
        ("replica=3", "''", "'replica' not allowed"),
        ("psp.create=true", "''", "'psp' not allowed"),
        ("prometheus.uri=http://prometheus", "'/prometheus'", "'uri' not allowed"),
        ("replicas=two", "'/replicas'", "got string, want integer"),
        ("listenPort=70000", "'/listenPort'", "65,535"),
        ("rules.default=yes", "'/rules/default'", "got string, want null or boolean"),
        ("rules.custom[0].seriesquery=up", "'/rules/custom/0'", "'seriesquery' not allowed"),
        ("rules.preset={vllm}", "'/rules'", "'preset' not allowed"),
        ("tls.method=files", "'/tls/method'", "'certManager'"),
        ("tls.insecureSkipTLSVerify=true", "'/tls'", "'insecureSkipTLSVerify' not allowed"),
        ("apiServices.external.create=maybe", "'/apiServices/external/create'", "'auto'"),
        ("rbac.useAuthReaderClusterRole=true", "'/rbac/useAuthReaderClusterRole'", "false"),
        ("metricsRelistInterval=60", "'/metricsRelistInterval'", "want string"),
    ];
    each_row(rows, |(set, path, why)| {
        let said = helm.refusal(&["template", &chart, "--set", set]).expect(set);
        let told = said.lines().any(|line| line.contains(path) && line.contains(why));
        assert!(told, "{set}: expected {path} and {why}, found:\n{said}");
    });
    Ok(())
}

#[test]
fn values_that_contradict_each_other_are_refused_by_name() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let Some(helm) = Helm::new(dir.path()) else { return left_out("helm") };
    let chart = chart().display().to_string();
    let rows = [
        ("certManager.enabled=true,tls.method=existingSecret", "certManager.enabled: expected alone"),
        ("tls.enable=true,tls.method=certManager", "tls.enable: expected tls.method values"),
        ("tls.method=existingSecret", "tls.existingSecret: expected the name of a Secret"),
        ("tls.method=existingSecret,tls.existingSecret=mine", "tls.ca: expected the authority"),
        ("tls.method=values", "tls.ca: expected the authority"),
        ("tls.method=values,tls.ca=pem", "tls.certificate: expected the serving certificate"),
        ("tls.method=values,tls.ca=pem,tls.certificate=pem", "tls.key: expected the key"),
    ];
    each_row(rows, |(set, expected)| {
        let refusal = helm.refusal(&["template", &chart, "--set", "rules.default=true", "--set", set]);
        let said = refusal.expect(set);
        assert!(said.contains(expected), "{set}: expected {expected}, found:\n{said}");
    });
    Ok(())
}

#[test]
fn the_schema_knows_each_value_and_no_other() -> Result<(), Failure> {
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(chart().join("values.yaml"))?)?;
    let schema: Value = serde_json::from_slice(&std::fs::read(chart().join("values.schema.json"))?)?;
    // A dependency's condition, which has no default.
    let undocumented = BTreeSet::from(["/enabled".to_owned()]);
    let mut faults = Vec::new();
    compare_names("", &values, &schema, &mut faults);
    faults.retain(|fault| !undocumented.contains(fault));
    assert_eq!(faults, [""; 0], "in the values or in the schema alone");
    Ok(())
}

/// The paths that only one of them has. An object whose schema names no properties holds what Kubernetes defines.
fn compare_names(path: &str, values: &Value, schema: &Value, faults: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let Some(values) = values.as_object() else { return };
    // What is empty by default is an object of the user's.
    if values.is_empty() && !path.is_empty() {
        return;
    }
    let names: BTreeSet<&String> = properties.keys().chain(values.keys()).collect();
    for name in names {
        let below = format!("{path}/{name}");
        match (values.get(name), properties.get(name)) {
            (Some(value), Some(property)) => compare_names(&below, value, property, faults),
            _ => faults.push(below),
        }
    }
}

#[test]
fn the_default_rules_are_those_that_the_adapter_takes() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let Some(helm) = Helm::new(dir.path()) else { return left_out("helm") };
    let objects = helm.objects("adapter", &chart(), &["--set", "rules.default=true"])?;
    let rules = objects.iter().find(|object| object["kind"] == "ConfigMap").ok_or("no ConfigMap")?;
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, rules["data"]["config.yaml"].as_str().unwrap_or_default())?;
    let checked = Command::new(stack::program("adapter")?).arg("check").arg(&file).output()?;
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.contains("6 custom and 0 external rules"), "{said}{checked:?}");
    Ok(())
}

/// What the chart and `deploy/base` have differently, and why.
const DIFFERENCES: [(&str, &str); 5] = [
    ("ConfigMap adapter-rules", "an overlay of the base brings it"),
    (
        "ClusterRole adapter-authentication-reader",
        "kustomize would move a RoleBinding out of kube-system; Helm does not",
    ),
    ("ClusterRoleBinding adapter-authentication-reader", "as above"),
    ("RoleBinding adapter-authentication-reader", "as above"),
    ("Pod adapter-test", "for `helm test`"),
];

#[test]
fn the_chart_and_the_manifests_are_the_same() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let Some(helm) = Helm::new(dir.path()) else { return left_out("helm") };
    let Some(kubectl) = component("kubectl") else { return left_out("kubectl") };
    let base =
        Command::new(kubectl).arg("kustomize").arg(stack::repository().join("deploy/base")).output()?;
    let base = by_name(objects(&String::from_utf8(base.stdout)?)?);
    let values = chart().join("ci/base-values.yaml").display().to_string();
    let arguments = ["--namespace", "monitoring", "-f", &values];
    let rendered = by_name(helm.objects("adapter", &chart(), &arguments)?);
    let names: BTreeSet<&String> = base.keys().chain(rendered.keys()).collect();
    let different: Vec<_> = names.iter().filter(|name| base.get(**name) != rendered.get(**name)).collect();
    let expected: BTreeSet<&str> = DIFFERENCES.iter().map(|(name, _)| *name).collect();
    for name in different.iter().filter(|name| !expected.contains(name.as_str())) {
        let both = [base.get(**name), rendered.get(**name)].map(|object| format!("{:#}", json!(object)));
        assert_eq!(both[0], both[1], "{name}: in deploy/base, and as the chart renders it");
    }
    let found: BTreeSet<&str> = different.iter().map(|name| name.as_str()).collect();
    assert_eq!(found, expected, "what is the same now is not a difference");
    Ok(())
}

/// Objects by kind and name, without what only Helm writes: its labels, and values that say what holds anyway.
fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let named = objects.into_iter().map(|mut object| {
        without_helms(&mut object);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        (format!("{} {name}", object["kind"].as_str().unwrap_or_default()), object)
    });
    named.collect()
}

fn without_helms(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["labels", "matchLabels", "selector"] {
                if let Some(labels) = fields.get_mut(name).and_then(Value::as_object_mut) {
                    labels.retain(|label, _| label == "app.kubernetes.io/name" || !label.contains('/'));
                }
            }
            fields.retain(|name, value| {
                !implied().iter().any(|(implied, default)| name == implied && value == default)
            });
            fields.retain(|name, value| {
                name != "labels" || *value != json!({"app.kubernetes.io/name": "adapter"})
            });
            fields.values_mut().for_each(without_helms);
        }
        Value::Array(items) => {
            items.retain(|item| !IMPLIED_ARGUMENTS.iter().any(|implied| item == implied));
            items.iter_mut().for_each(without_helms);
        }
        _ => {}
    }
}

/// Fields that the chart writes with the value that they have without it.
fn implied() -> [(&'static str, Value); 4] {
    [
        ("automountServiceAccountToken", json!(true)),
        ("imagePullPolicy", json!("IfNotPresent")),
        ("revisionHistoryLimit", json!(10)),
        ("type", json!("ClusterIP")),
    ]
}

/// Arguments likewise; levels below 3 log the same.
const IMPLIED_ARGUMENTS: [&str; 4] =
    ["--prometheus-timeout=10s", "--prometheus-max-queries=20", "--v=2", "--log-format=text"];

#[test]
fn the_tutorials_values_are_taken_as_they_are() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let Some(helm) = Helm::new(dir.path()) else { return left_out("helm") };
    let arguments = tutorials_arguments();
    let mut command = vec!["--namespace", "monitoring"];
    command.extend(arguments.iter().map(String::as_str));
    let objects = helm.objects("prometheus-adapter", &chart(), &command)?;
    // The tutorial's `kubectl logs deploy/prometheus-adapter`.
    let deployment = find(&objects, "Deployment", "prometheus-adapter")?;
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let expected = "--prometheus-url=http://prometheus-kube-prometheus-prometheus.monitoring.svc:9090";
    assert!(arguments.as_array().is_some_and(|all| all.iter().any(|one| one == expected)), "{arguments}");
    let rules = find(&objects, "ConfigMap", "prometheus-adapter-rules")?;
    let written: Value = serde_saphyr::from_str(rules["data"]["config.yaml"].as_str().unwrap_or_default())?;
    let given: Value = serde_saphyr::from_str(&std::fs::read_to_string(tutorials_values())?)?;
    assert_eq!(written["rules"], given["rules"]["custom"]);
    Ok(())
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value, Failure> {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.ok_or_else(|| format!("expected the {kind} {name}, found no such object").into())
}
