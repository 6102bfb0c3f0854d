//! The corpus of public rule files and what upstream made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What upstream made of one file.
#[derive(Deserialize)]
pub(crate) struct ExpectedFile {
    pub(crate) file: String,
    pub(crate) loads: bool,
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) rules: Vec<ExpectedRule>,
    #[serde(default, rename = "externalRules")]
    pub(crate) external_rules: Vec<ExpectedRule>,
    /// Whether the file has `resourceRules`.
    #[serde(default, rename = "resourceRules")]
    pub(crate) resource_rules: bool,
}

/// What upstream made of one rule.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExpectedRule {
    pub(crate) series_query: String,
    #[serde(default)]
    pub(crate) cases: Vec<Case>,
}

/// What upstream made of one example series.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Case {
    pub(crate) series: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) filtered_out: bool,
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) resources: Vec<String>,
    #[serde(default)]
    pub(crate) queries: Vec<Query>,
}

/// What upstream would ask Prometheus; without `promql` it refuses.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    /// Empty for an external metric.
    #[serde(default)]
    pub(crate) resource: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    pub(crate) selector: Option<String>,
    pub(crate) promql: Option<String>,
}

/// What upstream would ask Prometheus for the use of pods or nodes, by `tests/data/resource_rules.jsonl`, which the Go test in
/// `tests/components/prometheus-adapter/resourcerules` holds to upstream's code.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceQuery {
    pub(crate) file: String,
    /// `cpu` or `memory`.
    pub(crate) resource: String,
    /// Empty for nodes.
    #[serde(default)]
    pub(crate) namespace: String,
    pub(crate) names: Vec<String>,
    /// The labels of the object and, for pods, of the container.
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    /// The SHA-256 of the query, whose text is other people's. Empty where upstream refuses.
    #[serde(default)]
    pub(crate) query: String,
}

/// Every query of resource rules.
pub(crate) fn resource_queries() -> Vec<ResourceQuery> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/resource_rules.jsonl");
    let text = std::fs::read_to_string(path).expect("the file is readable");
    text.lines().map(|line| serde_json::from_str(line).expect("a query")).collect()
}

/// The corpus, where there is one.
pub(crate) fn find() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    dir.join("expected.json").exists().then_some(dir)
}

/// What upstream made of every file.
pub(crate) fn expected(corpus: &Path) -> Vec<ExpectedFile> {
    let text = std::fs::read_to_string(corpus.join("expected.json")).expect("the corpus is readable");
    serde_json::from_str(&text).expect("expected.json has the shape described beside it")
}
