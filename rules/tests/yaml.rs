//! YAML beyond a single plain document: objects that hold the rule file, several documents, aliases that stand for much.

fn warnings(text: &str) -> Vec<String> {
    let rules = rules::load(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    rules.warnings.iter().map(ToString::to_string).collect()
}

fn faults(text: &str) -> Vec<String> {
    let faults = rules::load(text).expect_err("a file with faults");
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn documents_behind_the_first_are_warned_of() {
    assert_eq!(
        warnings("rules: []\n---\nrules: []\n"),
        ["line 3, column 1: only the first YAML document is read; what starts in line 3 is not"]
    );
    assert_eq!(
        warnings("---\n# nothing\n---\nrules: []\n---\na\n---\n"),
        ["line 4, column 1: only the first YAML document is read; what starts in lines 4, 6 are not"]
    );
    assert_eq!(warnings("---\nrules: []\n---\n# an end\n...\n"), [""; 0]);
}

#[test]
fn values_of_the_chart_are_found_in_the_objects_that_install_it() {
    let values = "{rules: {custom: [{seriesQuery: x, metricsQuery: 'x{<<.LabelMatchers>>}', resources: {template: <<.Resource>>}}]}}";
    for (kind, spec, path) in [
        ("HelmRelease", format!("values: {values}"), "spec.values"),
        ("HelmChart", format!("valuesContent: |\n    {values}"), "spec.valuesContent"),
        ("HelmChartConfig", format!("valuesContent: |-\n    {values}"), "spec.valuesContent"),
        (
            "Application",
            format!("source: {{helm: {{valuesObject: {values}}}}}"),
            "spec.source.helm.valuesObject",
        ),
        (
            "Application",
            format!("source:\n    helm:\n      values: |\n        {values}"),
            "spec.source.helm.values",
        ),
    ] {
        let text = format!("apiVersion: v1\nkind: {kind}\nspec:\n  {spec}\n");
        let rules = rules::load(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        assert_eq!(rules.custom.len(), 1, "{text}");
        assert_eq!(
            rules.warnings[0].to_string(),
            format!("line 1, column 1: this is a {kind}; its {path} is read as the rule file")
        );
        assert!(rules.helm_values, "{text}");
    }
}

#[test]
fn a_config_map_in_a_list_is_found() {
    let text = "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret}, {apiVersion: v1, kind: ConfigMap, \
                data: {config.yaml: 'rules: []'}}]}";
    assert_eq!(
        warnings(text),
        [
            "line 1, column 1: this is a List; its items[1].data.config.yaml is read as the rule file; lines and columns are \
         those of its text"
        ]
    );
}

#[test]
fn aliases_that_stand_for_too_much_are_refused() {
    use std::fmt::Write as _;
    let mut laughs = String::from("a: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*l{}", level - 1);
        writeln!(laughs, "b{level}: &l{level} [{}]", vec![alias; 10].join(", ")).expect("text");
    }
    let found = faults(&laughs);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0]
            .ends_with("stand for more than 100000 values or 16777216 bytes; write fewer, or smaller ones"),
        "{found:?}"
    );

    let long = "x".repeat(1024 * 1024);
    let bytes = format!("a: &l {long}\nb: [{}]\n", vec!["*l"; 20].join(", "));
    assert!(faults(&bytes)[0].contains("16777216 bytes"));

    // Merged and nested in one another, too.
    let merged =
        laughs.replace("[x, x, x, x, x, x, x, x, x, x]", "{k: v}").replace('[', "{<<: [").replace(']', "]}");
    assert!(rules::load(&merged).is_err());
}

#[test]
fn aliases_do_not_nest_deeper_than_a_file_may() {
    use std::fmt::Write as _;
    let mut text = String::from("a: &l0 [x]\n");
    for level in 1..200 {
        writeln!(text, "b{level}: &l{level} [[[[*l{}]]]]", level - 1).expect("text");
    }
    let found = faults(&text);
    assert!(found[0].ends_with("nested deeper than 64 levels"), "{found:?}");
    let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(faults(&deep)[0].contains("levels") || faults(&deep)[0].contains("not YAML"));
}

#[test]
fn anchors_cost_no_more_than_they_may() {
    // Each anchor keeps a copy of what it holds.
    let opened: Vec<String> = (0..60).map(|number| format!("&a{number} [")).collect();
    let text = format!("a: {}[{}]{}", opened.concat(), "x,".repeat(50_000), "]".repeat(60));
    assert!(faults(&text)[0].contains("100000 values"));
}
