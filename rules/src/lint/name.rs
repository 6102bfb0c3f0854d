//! `name.as`: text with groups of `name.matches`, and nothing else.

use promql::regexp;

use crate::config::DiscoveryRule;
use crate::name::can_be_asked_for;
use crate::rule::Rule;
use crate::warning::{Lint, NO_METRIC, Warning};

pub(super) fn lint(written: &DiscoveryRule, rule: &Rule, warnings: &mut Vec<Warning>) {
    let r#as = &written.name.r#as;
    let (text, place) = (r#as.value.as_str(), &r#as.place);
    if TEMPLATES.iter().any(|(open, close)| text.contains(open) && text.contains(close)) {
        let message = format!(
            "name.as is not a template: {text:?} is taken as it is; expected text with groups of name.matches, like ${{1}}"
        );
        warnings.push(Warning::new(Lint::TemplateInName, place.fault(message)));
        return;
    }
    let mut rest = text.to_owned();
    for reference in regexp::references(text) {
        if rule.name.has_group(reference.name) {
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
        warnings.push(Warning::new(Lint::MissingGroup, place.fault(message)));
    }
    if !text.is_empty() && rest.is_empty() {
        let fault = place.fault(format!("{NO_METRIC}: its name comes out empty"));
        warnings.push(Warning::never_answers(Lint::EmptyName, fault));
    }
    if !can_be_asked_for(text) {
        let message =
            format!("an autoscaler cannot ask for a metric with / or % in its name, as in {text:?}");
        warnings.push(Warning::new(Lint::UnusableName, place.fault(message)));
    }
}

const TEMPLATES: [(&str, &str); 2] = [("<<", ">>"), ("{{", "}}")];
