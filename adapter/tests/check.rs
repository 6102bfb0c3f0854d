//! `adapter check`, seen from outside: what it prints, and how it ends.

use std::process::Command;
use testkit::rows::each_row;

#[test]
fn check_ends_by_what_the_rules_are_worth() {
    let folder = tempfile::tempdir().expect("a folder");
    let resources = "resources: {template: <<.Resource>>}";
    let rows = [
        (
            "good",
            format!("rules: [{{seriesQuery: x, {resources}, metricsQuery: 'x{{<<.LabelMatchers>>}}'}}]"),
            0,
            "good.yaml: 1 custom and 0 external rules, resource rules: no",
        ),
        (
            "warned",
            format!("rules: [{{seriesQuery: x, {resources}, metricsQuery: x}}]"),
            0,
            "warned.yaml: warning: rules[0].metricsQuery (line 1, column 78): the namespace and the metric selector of a \
             request have no effect on metricsQuery: it does not use <<.LabelMatchers>>",
        ),
        (
            "useless",
            format!("rules: [{{seriesQuery: x, {resources}}}]"),
            1,
            "useless.yaml: error: rules[0] (line 1, column 9): every request will fail: the field metricsQuery is missing",
        ),
        (
            "broken",
            "rules: [{seriesQuerry: x}]".to_owned(),
            64,
            "rules[0] (line 1, column 10): unknown field \"seriesQuerry\"",
        ),
    ];
    each_row(rows, |(name, rules, status, printed)| {
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, rules).expect("writable");
        let output = Command::new(env!("CARGO_BIN_EXE_adapter"))
            .arg("check")
            .arg(&file)
            .output()
            .expect("the program was built");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("UTF-8");
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains(printed), "{text}");
    });
}
