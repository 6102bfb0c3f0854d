//! The inputs that fuzzing kept, through what the fuzz targets check.

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let inputs: Vec<_> = std::fs::read_dir(folder).expect("a corpus").collect();
    assert!(!inputs.is_empty(), "no input for {target}");
    for input in inputs {
        let path = input.expect("a readable folder").path();
        println!("{}", path.display());
        check(&std::fs::read(path).expect("a readable input"));
    }
}

#[test]
fn accept() {
    replay("accept", fuzz::accept);
}

#[test]
fn exposition() {
    replay("exposition", fuzz::exposition);
}

#[test]
fn field_selector() {
    replay("field_selector", fuzz::field_selector);
}

#[test]
fn heads() {
    replay("heads", fuzz::heads);
}

#[test]
fn kubeconfig() {
    replay("kubeconfig", fuzz::kubeconfig);
}

#[test]
fn path() {
    replay("path", fuzz::path);
}

#[test]
fn prometheus_result() {
    replay("prometheus_result", fuzz::prometheus_result);
}

#[test]
fn prometheus_series() {
    replay("prometheus_series", fuzz::prometheus_series);
}

#[test]
fn promql() {
    replay("promql", fuzz::promql);
}

#[test]
fn regexp() {
    replay("regexp", fuzz::regexp);
}

#[test]
fn rule_file() {
    replay("rule_file", fuzz::rule_file);
}

#[test]
fn selector() {
    replay("selector", fuzz::selector);
}
