//! YAML beyond a single plain document: objects that hold the rule file, several documents, aliases that stand for
//! much.

use testkit::rows::each_row;

fn warnings(text: &str) -> Vec<String> {
    let rules = rules::load(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    rules.warnings.iter().map(ToString::to_string).collect()
}

fn faults(text: &str) -> Vec<String> {
    let faults = rules::load(text).expect_err("a file with faults");
    faults.iter().map(ToString::to_string).collect()
}

fn numbered(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect::<Vec<_>>().concat()
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
    let rows = [
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
    ];
    each_row(rows, |(kind, spec, path)| {
        let text = format!("apiVersion: v1\nkind: {kind}\nspec:\n  {spec}\n");
        let rules = rules::load(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        assert_eq!(rules.custom.len(), 1, "{text}");
        assert_eq!(
            rules.warnings[0].to_string(),
            format!("line 1, column 1: this is a {kind}; its {path} is read as the rule file")
        );
        assert!(rules.helm_values, "{text}");
    });
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
    let expected = "line 4, column 45: expected aliases that stand for at most 10000 keys and values, found more; \
                    write fewer, or to smaller anchors";
    assert_eq!(found, [expected]);

    let long = "x".repeat(1024 * 1024);
    let bytes = format!("a: &l {long}\nb: [{}]\n", vec!["*l"; 20].join(", "));
    assert!(faults(&bytes)[0].contains("at most 8388608 bytes of text"));

    // Merged, too, though one key of each name is left.
    let keys = numbered(1000, |number| format!("k{number}: v, "));
    let merged = format!("a: &big {{{keys}}}\nb: {{<<: [{}]}}\n", ["*big"; 6].join(", "));
    assert!(faults(&merged)[0].contains("at most 10000 keys and values"));

    // In a text inside the file, too, and in several of them together.
    let inner = laughs.replace('\n', "\n    ");
    let map =
        format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n    rules: []\n    {inner}\n");
    assert!(faults(&map)[0].contains("at most 10000 keys and values"));
}

#[test]
fn a_base_that_many_rules_share_is_taken() {
    let base = "&base {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}";
    let first = format!(
        "rules:\n- {{seriesQuery: a, resources: {base}, metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'}}\n"
    );
    let more = "- {seriesQuery: b, resources: *base, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}\n";
    let rules = rules::load(&(first + &more.repeat(600))).expect("valid rules");
    assert_eq!(rules.custom.len(), 601);
}

#[test]
fn a_file_holds_no_more_than_it_may() {
    let commas = format!("rules: [{}]", "a,".repeat(400_000));
    assert!(
        faults(&commas)[0].ends_with("expected at most 300000 keys and values in a rule file, found more")
    );
    let long = format!("rules: []\n#{}", " ".repeat(rules::LARGEST_FILE));
    assert_eq!(
        faults(&long),
        [format!("line 1, column 1: expected at most 4194304 bytes in a rule file, found {}", long.len())]
    );
    let many = format!("rules: [{}]", "a,".repeat(10_001));
    assert!(faults(&many)[0].ends_with("expected at most 10000 rules, found 10001"));
}

#[test]
fn of_very_many_faults_the_first_are_shown_and_the_rest_counted() {
    let unknown = numbered(5_000, |number| format!("key{number}: 1\n"));
    let found = faults(&unknown);
    assert_eq!(found.len(), 201);
    assert_eq!(found[200], "line 201, column 1: 4800 more faults from here on are not shown");
    // What a fault says is short, and so is where: neither repeats a megabyte for everything below it.
    let long = "k".repeat(1 << 20);
    let fields = numbered(150, |number| format!("f{number}: 1, "));
    let text = format!("rules: [{{resources: {{overrides: {{? {long}\n: {{{fields}}}}}}}}}]");
    let text = faults(&text).concat();
    assert!(text.len() < 200_000, "{}", text.len());
}

#[test]
fn the_expressions_of_a_file_share_one_room() {
    let rule = |filters: &str| {
        format!(
            "rules: [{{seriesQuery: a, metricsQuery: 'a{{<<.LabelMatchers>>}}', resources: {{overrides: {{pod: {{resource: pod}}}}}}, seriesFilters: [{filters}]}}]"
        )
    };
    let many = |count, filter: &dyn Fn(usize) -> String| (0..count).map(filter).collect::<String>();
    let usual = |index| format!("{{is: '^container_(.*)_seconds_{index}$'}}, {{isNot: '^(a|b|{index})$'}}, ");
    assert_eq!(rules::load(&rule(&many(300, &usual))).map(|_| ()), Ok(()));
    // Each fits for itself.
    let large = |index| format!("{{is: '\\pL{{100}}{index}'}}, ");
    assert_eq!(rules::load(&rule(&large(0))).map(|_| ()), Ok(()));
    assert_eq!(rules::load(&rule(&large(0).repeat(40))).map(|_| ()), Ok(()), "one expression");
    let found = faults(&rule(&many(40, &large)));
    assert!(found[0].contains("seriesFilters["), "{found:?}");
    assert!(
        found[0].ends_with("with the expressions before it, it needs more than 33554432 bytes compiled"),
        "{found:?}"
    );
}

#[test]
fn few_expressions_that_are_too_large_are_tried() {
    let filters = r"{is: '\pL{300}'}, ".repeat(100);
    let found = faults(&format!("rules: [{{seriesQuery: a, metricsQuery: a, seriesFilters: [{filters}]}}]"));
    let tried = found.iter().filter(|fault| fault.ends_with(": it needs more than 10485760 bytes compiled"));
    assert_eq!((found.len(), tried.count()), (100, 3), "{found:?}");
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
    assert!(faults(&text)[0].contains("at most 300000 keys and values"));
}
