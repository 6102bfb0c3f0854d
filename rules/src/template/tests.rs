//! Templates against Go's own text/template: `tests/data/templates.jsonl` says what it makes of each, and the Go test
//! in `tests/components/prometheus-adapter/naming` holds the file to it.
//!
//! `TEMPLATES=FILE cargo test -p rules equals_go` reads another file, which the Go test makes with
//! `go test ./naming -run TestWrite -write FILE -seed 2 -generated 200000`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use testkit::rows::each_row;

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DataSets {
    queries: Vec<Query>,
    labels: Vec<Label>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    series: String,
    label_matchers: String,
    label_values_by_name: BTreeMap<String, String>,
    group_by_slice: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Label {
    group: String,
    resource: String,
}

/// A template, and what Go makes of it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Case {
    #[serde(default)]
    label: bool,
    template: String,
    /// Whether it is refused when it is parsed.
    #[serde(default)]
    refused: bool,
    /// For each data set: `=` and the text, `x` and the text in hexadecimal, or `!` where it fails.
    #[serde(default)]
    results: Vec<String>,
}

#[test]
fn every_template_equals_go() {
    let file = std::env::var_os("TEMPLATES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/templates.jsonl"),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(file).expect("the file is readable");
    let mut lines = text.lines();
    let sets: DataSets = serde_json::from_str(lines.next().expect("data sets")).expect("data sets");
    let (mut compared, mut rendered, mut failed, mut refused, mut only_ours) = (0, 0, 0, 0, 0);
    let mut unexplained = Vec::new();
    for line in lines {
        let case: Case = serde_json::from_str(line).expect("a template");
        compared += 1;
        let (name, data) = if case.label { ("resource-label", &LABEL) } else { ("metrics-query", &QUERY) };
        let tree = match parser::parse(name, &case.template) {
            Ok(_) if case.refused => {
                unexplained.push(format!("{:?}: only Go refuses it", case.template));
                continue;
            }
            Err(fault) if !case.refused => {
                unexplained.push(format!("{:?}: only we refuse it: {}", case.template, fault.message));
                continue;
            }
            Err(_) => {
                refused += 1;
                continue;
            }
            Ok(tree) => tree,
        };
        // A field that does not exist is refused before it is reached (D66). What is rendered all the same must equal
        // Go.
        only_ours += usize::from(!check::check(&tree, data).is_empty());
        let template = Template { text: case.template, tree };
        let results: Vec<_> = if case.label {
            sets.labels.iter().map(|label| template.label_bytes(label)).collect()
        } else {
            sets.queries.iter().map(|query| template.query_bytes(query)).collect()
        };
        for (found, expected) in results.iter().zip(&case.results) {
            let text = match found {
                Err(_) => "!".to_owned(),
                Ok(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) => format!("={text}"),
                    Err(_) => bytes.iter().fold("x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
                },
            };
            if text == *expected {
                if found.is_ok() { rendered += 1 } else { failed += 1 }
            } else {
                let reason = found.as_ref().err().map(|fault| &fault.message);
                unexplained
                    .push(format!("{:?}\n  Go:   {expected:?}\n  ours: {text:?} {reason:?}", template.text));
            }
        }
    }
    println!(
        "compared {compared}: refused by both {refused}; rendered alike {rendered} times, failed in both {failed} times; \
         refused at load for a field or template that does not exist {only_ours}; unexplained {}",
        unexplained.len()
    );
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    assert!(compared >= 500, "only {compared} templates: the file is not whole");
}

impl Template {
    fn query_bytes(&self, query: &Query) -> Result<Vec<u8>, Fault> {
        let by_name: Vec<_> = query
            .label_values_by_name
            .iter()
            .map(|(name, value)| (Cow::from(name), value.as_str()))
            .collect();
        let group_by: Vec<_> = query.group_by_slice.iter().map(Cow::from).collect();
        let fields = QueryFields {
            series: &query.series,
            label_matchers: &query.label_matchers,
            label_values_by_name: &by_name,
            group_by: &group_by,
        };
        fields.with_record(|record| execute::execute(&self.tree, &Value::Record(record)))
    }

    fn label_bytes(&self, label: &Label) -> Result<Vec<u8>, Fault> {
        let fields = LabelFields { group: &label.group, resource: &label.resource };
        fields.with_record(|record| execute::execute(&self.tree, &Value::Record(record)))
    }
}

#[test]
fn faults_name_place_expected_and_found() {
    let rows = [
        (
            "a<<end>>",
            r#"line 1, column 4: unexpected "end": no "if", "with", "range", "block" or "define" is open"#,
        ),
        ("a\nb <<else>>", r#"line 2, column 5: unexpected "else": no "if", "with" or "range" is open"#),
        ("é<<break>>", r#"line 1, column 4: unexpected "break": no "range" is open"#),
        (
            "<<if .Series>>a",
            r#"line 1, column 3: expected "end" for this "if", found the end of the template"#,
        ),
        (
            "<<.Series",
            "line 1, column 10: expected >> at the end of the action, found the end of the template",
        ),
        (
            "<<if .Series>>a<<else>>b<<else>>c<<end>>",
            r#"line 1, column 27: expected "end" of the "if", found "else""#,
        ),
        ("<<with 1>>a<<else if 2>>b<<end>>", r#"line 1, column 19: expected text or <<, found "if""#),
        (
            "<<if false>><<define \"x\">><<end>><<end>>",
            r#"line 1, column 15: unexpected "define": expected it outside of every block"#,
        ),
        (
            "<<pritn .Series>>",
            "line 1, column 3: unknown function \"pritn\", expected one of and, call, eq, ge, gt, html, index, js, le, len, lt, ne, not, or, print, printf, println, slice, urlquery; did you mean \"print\"?",
        ),
        (
            "<<if false>><<.Groupby>><<end>>",
            "line 1, column 15: unknown field \"Groupby\", expected one of Series, LabelMatchers, LabelValuesByName, GroupBy, GroupBySlice; did you mean \"GroupBy\"?",
        ),
        (
            "<<range .GroupBySlice>><<.Series>><<end>>",
            r#"line 1, column 26: a string has no field "Series"; did you mean "$.Series"?"#,
        ),
        (
            "<<with .LabelValuesByName.pod>><<.GroupBy>><<end>>",
            r#"line 1, column 34: a string has no field "GroupBy"; did you mean "$.GroupBy"?"#,
        ),
        (
            "<<define \"row\">>a<<end>><<if false>><<template \"rows\">><<end>>",
            r#"line 1, column 39: no template "rows" is defined; did you mean "row"?"#,
        ),
        (
            "<<$first := 1>><<$frist>>",
            r#"line 1, column 18: undefined variable "$frist"; did you mean "$first"?"#,
        ),
        ("<<.Series | 1>>", r#"line 1, column 13: expected a function after "|", found "1""#),
        ("<<(.Series>>", "line 1, column 11: expected ) before >>"),
        ("<<>>", "line 1, column 3: expected a value in this action, found none"),
        ("<<if>>a<<end>>", "line 1, column 5: expected a value in this if, found none"),
        ("<<.Series + 1>>", r#"line 1, column 11: invalid number "+""#),
        ("<<print \"a>>", r#"line 1, column 9: expected " at the end of the string"#),
    ];
    each_row(rows, |(text, expected)| {
        let found = Template::query(text).map_err(|error| error.to_string());
        assert_eq!(found.err().as_deref(), Some(expected), "{text}");
    });
}

#[test]
fn failures_name_place_expected_and_found() {
    let values = [("pod".into(), "a")];
    let fields = QueryFields {
        series: "s",
        label_matchers: "",
        label_values_by_name: &values,
        group_by: &["pod".into()],
    };
    let rows = [
        (
            "a\n<<index .GroupBySlice 1>>",
            "line 2, column 3: expected an index within a length of 1, found one outside",
        ),
        ("<<len 1>>", "line 1, column 3: expected a string, a list or a map for len, found int"),
        ("<<.Series 1>>", "line 1, column 3: expected no argument for .Series, found one"),
        (
            "<<slice \"é\" 1>>",
            "line 1, column 1: expected UTF-8, found a broken character at byte 0 of what it renders",
        ),
    ];
    each_row(rows, |(text, expected)| {
        let found = Template::query(text).expect(text).fill_query(&fields).map_err(|error| error.to_string());
        assert_eq!(found, Err(expected.to_owned()), "{text}");
    });
}

#[test]
fn hostile_templates_end_soon_with_an_error() {
    let nested = |open: &str, close: &str, count: usize| open.repeat(count) + &close.repeat(count);
    let long = "a".repeat(200_000);
    let rows = [
        nested("<<if true>>", "<<end>>", 101),
        nested("<<if true>>", "<<end>>", 20_000),
        format!("<<{}>>", nested("(", ")", 20_000).replace("()", "(1)")),
        format!("<<if 0>>{}<<end>>", "<<else if 0>>".repeat(20_000)),
        format!("<<${long} := 1>><<${long}b>>"),
        format!("<<{long}>>"),
        "<<define \"f\">><<template \"f\" .>><<end>><<template \"f\" .>>".to_owned(),
        "<<define \"f\">><<template \"g\">><<end>><<define \"g\">><<if 1>>a<<template \"f\">><<end>><<end>><<template \"f\">>"
            .to_owned(),
        "a<<template \"metrics-query\" .>>".to_owned(),
        "<<range 9000000000000000000>><<end>>".to_owned(),
        "<<range 1000>><<range 1000>><<range 1000>>a<<end>><<end>><<end>>".to_owned(),
        "<<$x := .Series>><<range 90000>><<$x = print $x $x>><<end>>".to_owned(),
        "<<range 90000>><<printf \"%1000000d\" 1>><<end>>".to_owned(),
        "<<range 90000>><<$x := printf \"%.1000000f\" 1.5>><<end>>".to_owned(),
        "<<$x := printf \"%1000000d\" 1>><<range 90000>><<if eq $x (slice $x 1)>>a<<end>><<end>>".to_owned(),
        "<<$x := printf \"%1000000d\" 1>><<range 90000>><<$y := printf \"%.1q\" $x>><<end>>".to_owned(),
        "<<$x := printf \"%1000000d\" 1>><<range 90000>><<$y := html $x>><<end>>".to_owned(),
        format!("<<range 90000>>{long}<<end>>"),
    ];
    each_row(rows, |text| {
        let fields = QueryFields {
            series: "s",
            label_matchers: "",
            label_values_by_name: &[],
            group_by: &["pod".into()],
        };
        let outcome = Template::query(&text).and_then(|template| template.fill_query(&fields));
        let error = outcome.expect_err(&text[..text.len().min(80)]).to_string();
        assert!(error.len() < 600, "{error}");
    });
}
