//! Warnings about rule files from public repositories: most of them work, and must be told nothing that is wrong.

use std::collections::BTreeMap;

use testkit::corpus;

/// Files with a rule that never answers, as prometheus-adapter's own code does not answer it either: custom rules
/// without resources or whose sums keep no object's label, external rules without a label for namespaces.
const NEVER_ANSWER: [&str; 5] = ["018-", "047-", "093-", "101-", "111-"];

#[test]
fn the_shipped_rules_are_not_warned_of() {
    let rules = rules::load(include_str!("../tutorial.yaml")).expect("valid rules");
    let found: Vec<String> = rules.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn public_rules_that_answer_are_not_said_to_fail() {
    let Some(dir) = corpus::find() else {
        eprintln!("not run: the corpus of public rule files (../shared/corpus) is not on this machine");
        return;
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for expected in corpus::expected(&dir) {
        let text = std::fs::read_to_string(dir.join(&expected.file)).expect("a readable file");
        let Ok(rules) = rules::load(&text) else { continue };
        for warning in &rules.warnings {
            let text = warning.to_string();
            let kind = KINDS.iter().find(|kind| text.contains(**kind)).unwrap_or(&"other");
            *counts.entry(kind).or_default() += 1;
            let is_known = expected.file.starts_with("broken/")
                || NEVER_ANSWER.iter().any(|known| expected.file.starts_with(known));
            assert!(!warning.never_answers || is_known, "{}: {warning}", expected.file);
        }
    }
    println!("{counts:#?}");
    assert!(counts.len() > 3 && !counts.contains_key("other"), "{counts:#?}");
}

const KINDS: [&str; 15] = [
    "the chart's default rules",
    "a ConfigMap's name means nothing",
    "have no effect on",
    "has no effect on",
    "it is sent",
    "is sent as it is",
    "no sample has",
    "has no label for namespaces",
    "no label names a Kubernetes object",
    "the field ",
    "in name.as stands for a group",
    "name.as is not a template",
    "an autoscaler cannot ask",
    "expected a series selector",
    "the query yields",
];
