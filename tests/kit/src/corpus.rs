//! The corpus of public rule files and what upstream made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What upstream made of one file.
#[derive(Deserialize)]
pub struct ExpectedFile {
    /// Its name in the corpus.
    pub file: String,
    /// Whether upstream loads it.
    pub loads: bool,
    /// Why not.
    pub error: Option<String>,
    /// Its rules of custom metrics.
    #[serde(default)]
    pub rules: Vec<ExpectedRule>,
    /// Its rules of external metrics.
    #[serde(default, rename = "externalRules")]
    pub external_rules: Vec<ExpectedRule>,
    /// Whether the file has `resourceRules`.
    #[serde(default, rename = "resourceRules")]
    pub resource_rules: bool,
}

/// What upstream made of one rule.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedRule {
    /// As it is written.
    pub series_query: String,
    /// Examples of series.
    #[serde(default)]
    pub cases: Vec<Case>,
}

/// What upstream made of one example series.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// Its name.
    pub series: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether the filters of the rule drop it.
    #[serde(default)]
    pub filtered_out: bool,
    /// The name of the metric.
    pub name: Option<String>,
    /// The resources that it describes.
    #[serde(default)]
    pub resources: Vec<String>,
    /// Examples of requests.
    #[serde(default)]
    pub queries: Vec<Query>,
}

/// What upstream would ask Prometheus; without `promql` it refuses.
#[derive(Debug, Deserialize)]
pub struct Query {
    /// Empty for an external metric.
    #[serde(default)]
    pub resource: String,
    /// Empty for objects that are in none.
    #[serde(default)]
    pub namespace: String,
    /// The objects.
    #[serde(default)]
    pub names: Vec<String>,
    /// The selector of the metric.
    pub selector: Option<String>,
    /// The query.
    pub promql: Option<String>,
}

/// What upstream would ask Prometheus for the use of pods or nodes, by `rules/tests/data/resource_rules.jsonl`, which
/// the Go test in `tests/components/prometheus-adapter/resourcerules` holds to upstream's code.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceQuery {
    /// The file of its rules in the corpus.
    pub file: String,
    /// `cpu` or `memory`.
    pub resource: String,
    /// Empty for nodes.
    #[serde(default)]
    pub namespace: String,
    /// The objects.
    pub names: Vec<String>,
    /// The labels of the object and, for pods, of the container.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The SHA-256 of the query, whose text is other people's. Empty where upstream refuses.
    #[serde(default)]
    pub query: String,
}

/// Every query of resource rules.
///
/// # Panics
/// The file is not readable.
pub fn resource_queries() -> Vec<ResourceQuery> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules/tests/data/resource_rules.jsonl");
    let text = std::fs::read_to_string(path).expect("the file is readable");
    text.lines().map(|line| serde_json::from_str(line).expect("a query")).collect()
}

/// The corpus, where there is one.
pub fn find() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    dir.join("expected.json").exists().then_some(dir)
}

/// What upstream made of every file.
///
/// # Panics
/// `expected.json` is not readable.
pub fn expected(corpus: &Path) -> Vec<ExpectedFile> {
    let text = std::fs::read_to_string(corpus.join("expected.json")).expect("the corpus is readable");
    serde_json::from_str(&text).expect("expected.json has the shape described beside it")
}
