//! The inputs that fuzzing kept, through what the fuzz targets check.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use tar::Archive;
use testkit::rows::each_row;

fn replay(target: &str, check: fn(&[u8])) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("corpus/{target}.tar.gz"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut archive = Archive::new(GzDecoder::new(file));
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an archive that ends");
        let name = entry.path().expect("a name").display().to_string();
        let mut input = Vec::new();
        entry.read_to_end(&mut input).expect("a whole input");
        (name, input)
    });
    let inputs: Vec<_> = entries.collect();
    println!("{} inputs", inputs.len());
    each_row(inputs, |(_, input)| check(&input));
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
