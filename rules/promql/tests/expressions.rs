//! `expressions.txt`: what Prometheus accepts and refuses, and what we do.

use promql::{ParseError, parse};
use testkit::rows::each_row;

/// What becomes of an expression, with words that the error has.
#[derive(Debug, Clone, Copy)]
enum Verdict<'a> {
    Accepted,
    Refused(&'a str),
    Unsupported(&'a str),
}

fn expressions() -> impl Iterator<Item = (Verdict<'static>, String)> {
    let mut verdict = Verdict::Accepted;
    include_str!("expressions.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("## "))
        .filter_map(move |line| {
            let Some(heading) = line.strip_prefix("== ") else {
                return Some((verdict, line.replace('␤', "\n")));
            };
            verdict = match heading.split_once(": ") {
                None if heading == "accepted" => Verdict::Accepted,
                Some(("refused", words)) => Verdict::Refused(words),
                Some(("unsupported", words)) => Verdict::Unsupported(words),
                _ => panic!("expected a verdict, found {heading:?}"),
            };
            None
        })
}

#[test]
fn expressions_are_accepted_and_refused_as_listed() {
    let (mut accepted, mut refused, mut unsupported) = (0, 0, 0);
    let mut faults = Vec::new();
    for (verdict, text) in expressions() {
        let result = parse(&text);
        let agrees = match (verdict, &result) {
            (Verdict::Accepted, Ok(_)) => {
                accepted += 1;
                true
            }
            (Verdict::Refused(words), Err(ParseError::Invalid { reason, .. })) => {
                refused += 1;
                reason.contains(words)
            }
            (Verdict::Unsupported(name), Err(ParseError::Unsupported { construct, .. })) => {
                unsupported += 1;
                construct == name
            }
            _ => false,
        };
        if !agrees {
            let found = result.map_or_else(|error| error.to_string(), |tree| tree.to_string());
            faults.push(format!("expected {verdict:?} for {text:?}, found {found}"));
        }
    }
    println!("{accepted} accepted, {refused} refused, {unsupported} unsupported");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(accepted > 400 && refused > 500 && unsupported > 70, "{accepted}, {refused}, {unsupported}");
}

#[test]
fn errors_name_line_and_column() {
    let rows = [
        ("sum(m", "1:6: parse error: unclosed left parenthesis"),
        ("sum(\n  m[0]\n)", "2:5: parse error: duration must be greater than 0"),
        ("é{a=\"b\"}", "1:1: parse error: unexpected character 'é'"),
        (
            "m{a=\"é\"} + rate(m)",
            "1:18: parse error: expected type range vector in a call of \"rate\", got instant vector",
        ),
        ("rate(m[5m] anchored)", "1:12: the modifier anchored"),
    ];
    each_row(rows, |(text, expected)| {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), expected);
    });
}
