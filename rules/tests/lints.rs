//! The lints: an input that fires each and one that must not, the examples of the documentation, and rule files from
//! public repositories, most of which work and must be told nothing that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use rules::presets::Preset;
use rules::{Lint, LintSettings};
use serde::Deserialize;
use testkit::corpus;
use testkit::rows::each_row;

/// Files with a rule that never answers, as prometheus-adapter's own code does not answer it either: custom rules
/// without resources or whose sums keep no object's label, external rules without a label for namespaces.
const NEVER_ANSWER: [&str; 5] = ["018-", "047-", "093-", "101-", "111-"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    lint: String,
    /// Rule files that it warns of.
    fires: Vec<String>,
    /// Rule files that it must not warn of.
    silent: Vec<String>,
}

#[test]
fn every_lint_fires_on_its_inputs_and_on_no_other() {
    let rows: Vec<Row> = serde_saphyr::from_str(include_str!("lints.yaml")).expect("a list of rows");
    let tried: BTreeSet<&str> = rows.iter().map(|row| row.lint.as_str()).collect();
    let known: BTreeSet<&str> = Lint::ALL.iter().map(|lint| lint.name()).collect();
    assert_eq!(tried, known);
    each_row(rows, |row| {
        let lint = Lint::by_name(&row.lint).expect("a known lint");
        assert!(!row.fires.is_empty() && !row.silent.is_empty(), "{lint}: expected inputs of both kinds");
        for text in &row.fires {
            assert!(found(text).contains(&lint), "{lint} does not fire on:\n{text}");
        }
        for text in &row.silent {
            assert!(!found(text).contains(&lint), "{lint} fires on:\n{text}");
        }
    });
}

#[test]
fn no_lint_fires_on_the_rules_that_are_shipped() {
    let tutorial = ("tutorial", include_str!("../tutorial.yaml"));
    let presets = Preset::ALL.map(|preset| (preset.name(), preset.text()));
    for seconds in [15, 30] {
        let settings = LintSettings { scrape_interval: Duration::from_secs(seconds) };
        each_row([tutorial].into_iter().chain(presets), |(name, text)| {
            let (rules, faults) = rules::inspect(text, settings);
            assert_eq!(faults, None, "{name}");
            let found: Vec<String> = rules.warnings.iter().map(ToString::to_string).collect();
            assert_eq!(found, [""; 0], "{name}");
        });
    }
}

/// An entry of `docs/lints.md` is a heading with the lint's name, what it is about, a file that fires it and one that
/// does not.
#[test]
fn every_lint_is_documented_with_examples_that_are_true() {
    let text = include_str!("../../docs/lints.md");
    let entries: Vec<(&str, &str)> =
        text.split("\n### ").skip(1).filter_map(|entry| entry.split_once('\n')).collect();
    let names: Vec<&str> = entries.iter().map(|(name, _)| name.trim_matches('`')).collect();
    let known: Vec<&str> = Lint::ALL.iter().map(|lint| lint.name()).collect();
    assert_eq!(names, known);
    each_row(entries, |(name, entry)| {
        let lint = Lint::by_name(name.trim_matches('`')).expect("a known lint");
        let mut examples =
            entry.split("```yaml\n").skip(1).map(|part| part.split("```").next().unwrap_or(""));
        let fires = examples.next().expect("an example that fires it");
        assert!(found(fires).contains(&lint), "{lint} does not fire on its example:\n{fires}");
        let silent = examples.next().expect("an example that does not fire it");
        assert!(!found(silent).contains(&lint), "{lint} fires on its second example:\n{silent}");
        rules::load(silent).unwrap_or_else(|faults| panic!("{lint}: {faults}"));
    });
}

#[test]
fn a_longer_scrape_interval_needs_longer_ranges() {
    let text = r#"rules: [{seriesQuery: x_total, resources: {template: "<<.Resource>>"}, metricsQuery: "rate(x_total{<<.LabelMatchers>>}[1m])"}]"#;
    each_row([(15, false), (16, true), (60, true)], |(seconds, fires)| {
        let settings = LintSettings { scrape_interval: Duration::from_secs(seconds) };
        let (rules, _) = rules::inspect(text, settings);
        assert_eq!(rules.warnings.iter().any(|warning| warning.lint == Lint::ShortRange), fires, "{seconds}");
    });
}

/// Where a comment is for what.
#[test]
fn comments_allow_lints_for_a_rule_a_section_or_the_file() {
    let rule = |comment: &str| {
        format!(
            "- seriesQuery: x_total\n  resources: {{template: <<.Resource>>}}{comment}\n  metricsQuery: x_total{{<<.LabelMatchers>>}}\n"
        )
    };
    let (allow, plain) = ("# adapter-lint: allow counter-as-gauge", rule(""));
    let external = "externalRules:\n- {seriesQuery: y_total, resources: {template: <<.Resource>>}, metricsQuery: 'y_total{<<.LabelMatchers>>}'}\n";
    let in_line = rule(&format!(" {allow} -- it is a gauge"));
    let own_line = rule(&format!("\n  {allow}"));
    let rows = [
        ("none", format!("rules:\n{plain}{external}"), vec![4, 6]),
        ("at the end of a line of the rule", format!("rules:\n{in_line}{external}"), vec![6]),
        ("in the rule", format!("rules:\n{own_line}{external}"), vec![7]),
        ("above the rule", format!("rules:\n{allow}\n# why\n\n{plain}{external}"), vec![9]),
        ("above another rule", format!("rules:\n{plain}{allow}\n{plain}{external}"), vec![4, 10]),
        ("above a section", format!("rules:\n{plain}{allow}\n{external}"), vec![4]),
        ("above the file", format!("# Rules.\n{allow}\n---\nrules:\n{plain}{external}"), vec![]),
        (
            "another lint",
            format!("rules:\n{}{external}", rule(" # adapter-lint: allow short-range")),
            vec![4, 6],
        ),
        (
            "two lints",
            format!("# adapter-lint: allow short-range, counter-as-gauge\nrules:\n{plain}"),
            vec![],
        ),
        (
            "in a ConfigMap's text",
            format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n    rules:\n    - # x\n{}", {
                let rule = in_line.replacen("- ", "  ", 1);
                rule.lines().fold(String::new(), |mut text, line| {
                    let _ = writeln!(text, "    {line}");
                    text
                })
            }),
            vec![],
        ),
    ];
    each_row(rows, |(what, text, expected)| {
        let rules = rules::load(&text).unwrap_or_else(|faults| panic!("{what}: {faults}\n{text}"));
        let counters = rules.warnings.iter().filter(|warning| warning.lint == Lint::CounterAsGauge);
        let lines: Vec<usize> = counters.map(|warning| warning.fault.line).collect();
        assert_eq!(lines, expected, "{what}:\n{text}");
    });
}

#[test]
fn public_rules_that_answer_are_not_said_to_fail() {
    let Some(dir) = corpus::find() else {
        eprintln!("not run: the corpus of public rule files (../shared/corpus) is not on this machine");
        return;
    };
    let mut counts: BTreeMap<Lint, usize> = BTreeMap::new();
    let mut listed = String::new();
    for expected in corpus::expected(&dir) {
        let text = std::fs::read_to_string(dir.join(&expected.file)).expect("a readable file");
        let Ok(rules) = rules::load(&text) else { continue };
        for warning in &rules.warnings {
            *counts.entry(warning.lint).or_default() += 1;
            let _ = writeln!(listed, "{}:{}: {}: {warning}", expected.file, warning.fault.line, warning.lint);
            let is_known = expected.file.starts_with("broken/")
                || NEVER_ANSWER.iter().any(|known| expected.file.starts_with(known));
            assert!(!warning.never_answers || is_known, "{}: {warning}", expected.file);
        }
    }
    println!("{listed}");
    for (lint, count) in &counts {
        println!("{count:5} {lint}");
    }
    assert!(counts.len() > 3, "{counts:#?}");
}

fn found(text: &str) -> BTreeSet<Lint> {
    let (rules, _) = rules::inspect(text, LintSettings::default());
    rules.warnings.iter().map(|warning| warning.lint).collect()
}
