//! `name.as`: text with groups of `name.matches`, and nothing else.

use super::{NO_METRIC, Warning};
use crate::compile::Rule;
use crate::config::DiscoveryRule;

pub(super) fn lint(written: &DiscoveryRule, rule: &Rule, warnings: &mut Vec<Warning>) {
    let r#as = &written.name.r#as;
    let (text, place) = (r#as.value.as_str(), &r#as.place);
    if TEMPLATES.iter().any(|(open, close)| text.contains(open) && text.contains(close)) {
        let message = format!(
            "name.as is not a template: {text:?} is taken as it is; expected text with groups of name.matches, like ${{1}}"
        );
        warnings.push(place.fault(message).into());
        return;
    }
    let pattern = written.name.matches.as_ref().map_or("", |matches| matches.value.as_str());
    let has_group = |name: &str| match name.parse::<usize>() {
        Ok(index) if name.bytes().all(|byte| byte.is_ascii_digit()) => index <= rule.name.groups(),
        _ => ["(?P<", "(?<"].iter().any(|open| pattern.contains(&format!("{open}{name}>"))),
    };
    let mut rest = text.to_owned();
    for reference in references(text) {
        if has_group(reference.name) {
            rest = rest.replacen(reference.text, "x", 1);
            continue;
        }
        rest = rest.replacen(reference.text, "", 1);
        let digits = reference.name.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
        let digits = reference.name.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits);
        let hint = match reference.name.split_at(digits) {
            ("", _) | (_, "") => String::new(),
            (group, more) => format!("; write ${{{group}}}{more}"),
        };
        let message = format!(
            "{:?} in name.as stands for a group called {:?}, and name.matches has none{hint}",
            reference.text, reference.name
        );
        warnings.push(place.fault(message).into());
    }
    if !text.is_empty() && rest.is_empty() {
        let fault = place.fault(format!("{NO_METRIC}: its name comes out empty"));
        warnings.push(Warning { fault, never_answers: true });
    }
    if text.contains(['/', '%']) {
        let message =
            format!("an autoscaler cannot ask for a metric with / or % in its name, as in {text:?}");
        warnings.push(place.fault(message).into());
    }
}

struct Reference<'a> {
    text: &'a str,
    name: &'a str,
}

/// `$name` and `${name}`, as Go's `Regexp.Expand` reads them: the longest run of word characters is the name.
fn references(text: &str) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let start = &rest[dollar..];
        let inner = &start[1..];
        if let Some(after) = inner.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (open, name) = inner.strip_prefix('{').map_or((1, inner), |inner| (2, inner));
        let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(name.len());
        let close = if open == 2 { usize::from(name[end..].starts_with('}')) } else { 0 };
        rest = inner;
        if end > 0 && (open == 1 || close == 1) {
            found.push(Reference { text: &start[..open + end + close], name: &name[..end] });
            rest = &name[end + close..];
        }
    }
    found
}

const TEMPLATES: [(&str, &str); 2] = [("<<", ">>"), ("{{", "}}")];
