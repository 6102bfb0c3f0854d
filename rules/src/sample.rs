//! A rule's query rendered with sample names: its tree tells how the query writes names, and what of a request it uses.

use promql_parser::label::{METRIC_NAME, MatchOp, Matcher};
use promql_parser::parser::{BinModifier, Expr, LabelModifier, VectorMatchCardinality, VectorSelector};

use crate::plan::PlanError;
use crate::query_parts::QueryParts;
use crate::quoted_names::{Form, SeriesForm, Written, name_matcher};
use crate::quoting;
use crate::rule::{QueryTemplate, RuleId};

/// A query without a request: enough to see what becomes of its template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample<'a> {
    pub(crate) rule: RuleId,
    pub(crate) template: &'a QueryTemplate,
    pub(crate) namespace_label: Option<&'a str>,
    pub(crate) object_label: Option<&'a str>,
    pub(crate) group_by: &'a [&'a str],
}

impl Sample<'_> {
    pub(crate) fn render(&self, written: &Written) -> Result<String, PlanError> {
        self.render_selecting(written, &self.selected(written))
    }

    fn render_selecting(&self, written: &Written, selected: &[&str]) -> Result<String, PlanError> {
        self.parts(written, selected)?.render(self.rule, self.template, written, self.group_by)
    }

    /// Labels of the request's selector, beside the one that it always has. The query may ask for labels that a
    /// selector has or has not: with them all, or with none if that makes more of it.
    fn selected(&self, written: &Written) -> Vec<&str> {
        let own = [self.namespace_label, self.object_label];
        let mut asked = self.template.template.label_names();
        asked.retain(|label| quoting::is_label_name(label) && !own.contains(&Some(label)));
        if asked.is_empty() {
            return asked;
        }
        let is_query =
            |text: &Result<String, PlanError>| text.as_ref().is_ok_and(|text| promql::parse(text).is_ok());
        let with_all = self.render_selecting(written, &asked);
        let with_none = self.render_selecting(written, &[]);
        let prefers_none = !is_query(&with_all) && (is_query(&with_none) || with_all.is_err());
        if prefers_none { Vec::new() } else { asked }
    }

    fn parts<'p>(&'p self, written: &Written, selected: &[&'p str]) -> Result<QueryParts<'p>, PlanError> {
        let mut parts = QueryParts::of(written);
        // So that there are matchers in any case.
        parts.equals(SAMPLE_KEY, "=", SAMPLE_VALUE);
        for label in selected {
            parts.equals(label, "=", ASKED_VALUE);
        }
        if let Some(label) = self.namespace_label {
            parts.namespaces(label, &[SAMPLE_NAMESPACE])?;
        }
        if let Some(label) = self.object_label {
            parts.objects(label, &[SAMPLE_OBJECT])?;
        }
        Ok(parts)
    }

    fn is_plain(&self) -> bool {
        let labels = [self.namespace_label, self.object_label];
        labels
            .into_iter()
            .flatten()
            .chain(self.group_by.iter().copied())
            .all(|label| label.is_empty() || quoting::is_label_name(label))
    }

    /// Whether the labels are to be in quotes. Only a rule that would have two pairs of them gets the labels as they
    /// are.
    pub(crate) fn quotes_labels(&self) -> bool {
        let is_good = |quotes_labels| {
            let written = Written { quotes_labels, ..Written::plainly(&SAMPLE_SERIES.into()) };
            let tree = self.render(&written).ok().and_then(|text| promql::parse(&text).ok());
            tree.is_some_and(|mut tree| {
                let mut twice = false;
                each_name(&mut tree, &mut |name| twice |= name.starts_with('"'));
                !twice
            })
        };
        self.is_plain() || is_good(true) || !is_good(false)
    }

    /// The names as the fields hold them, with a series that needs no quotes, or none.
    pub(crate) fn written(&self, series: &str) -> Written {
        Written { quotes_labels: self.quotes_labels(), ..Written::plainly(&series.into()) }
    }

    /// How the query writes series whose names need quotes.
    pub(crate) fn form(&self) -> Form {
        let plain = self.written(SAMPLE_SERIES);
        let quotes_labels = plain.quotes_labels;
        let expected = self.render(&plain).ok().and_then(|text| promql::parse(&text).ok()).map(|mut tree| {
            each_selector(&mut tree, &mut |selector| {
                name_in_matchers(selector, SAMPLE_SERIES, ODD_SAMPLE_SERIES);
            });
            tree
        });
        let means_the_same = |text: &str| {
            let tree = promql::parse(text).ok().map(|mut tree| {
                each_selector(&mut tree, &mut |selector| name_in_matchers(selector, "", ""));
                tree
            });
            expected.is_some() && tree == expected
        };
        let as_it_is = Written { series: ODD_SAMPLE_SERIES.into(), ..plain.clone() };
        let Ok(pasted) = self.render(&as_it_is) else { return Form { quotes_labels, series: None } };
        let in_matchers = name_matcher(ODD_SAMPLE_SERIES);
        let series = if means_the_same(&pasted) {
            Some(SeriesForm::AsItIs)
        } else {
            let written =
                Written { series: "".into(), name_matcher: Some(in_matchers.as_str().into()), ..plain };
            // The text must differ only where the fields are: a template that looks at the name may mean something
            // else.
            let same_text = |text: &str| {
                let matchers = self.parts(&as_it_is, &self.selected(&as_it_is)).ok()?.matchers().to_owned();
                let matched = pasted
                    .replace(ODD_SAMPLE_SERIES, "")
                    .replace(&matchers, &format!("{in_matchers},{matchers}"));
                Some(matched == text)
            };
            let text = self.render(&written).ok();
            text.filter(|text| same_text(text) == Some(true) && means_the_same(text))
                .map(|_| SeriesForm::InMatchers)
        };
        Form { quotes_labels, series }
    }
}

/// What of a sample's request is in the text that it renders to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) namespace: bool,
    pub(crate) selector: bool,
}

impl Uses {
    pub(crate) fn of(sample: &str) -> Uses {
        Uses { namespace: sample.contains(SAMPLE_NAMESPACE), selector: sample.contains(SAMPLE_VALUE) }
    }
}

/// Brings a selector to one form, whichever way its name was written, with `from` in the name replaced by `to`.
fn name_in_matchers(selector: &mut VectorSelector, from: &str, to: &str) {
    let renamed = |name: &str| if from.is_empty() { name.to_owned() } else { name.replace(from, to) };
    let matchers = &mut selector.matchers.matchers;
    if let Some(name) = selector.name.take() {
        matchers.push(Matcher::new(MatchOp::Equal, METRIC_NAME, &name));
    }
    for matcher in
        matchers.iter_mut().filter(|matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal)
    {
        matcher.value = renamed(&matcher.value);
    }
    matchers.sort_by(|left, right| (&left.name, &left.value).cmp(&(&right.name, &right.value)));
}

fn each_selector(expr: &mut Expr, visit: &mut impl FnMut(&mut VectorSelector)) {
    match expr {
        Expr::VectorSelector(selector) => visit(selector),
        Expr::MatrixSelector(selector) => visit(&mut selector.vs),
        _ => each_part(expr, &mut |part| each_selector(part, visit)),
    }
}

/// Every label that a query names, and every string.
pub(crate) fn each_name(expr: &mut Expr, visit: &mut impl FnMut(&str)) {
    each_selector(expr, &mut |selector| {
        selector.matchers.matchers.iter().for_each(|matcher| visit(&matcher.name));
    });
    each_string(expr, visit);
}

fn each_string(expr: &mut Expr, visit: &mut impl FnMut(&str)) {
    let mut listed = |modifier: Option<&LabelModifier>| {
        modifier.iter().flat_map(|modifier| &modifier.labels().labels).for_each(|label| visit(label));
    };
    match expr {
        Expr::StringLiteral(literal) => visit(&literal.val),
        Expr::Aggregate(aggregate) => listed(aggregate.modifier.as_ref()),
        Expr::Binary(binary) => {
            if let Some(BinModifier { card, matching, .. }) = &binary.modifier {
                listed(matching.as_ref());
                if let VectorMatchCardinality::ManyToOne(labels) | VectorMatchCardinality::OneToMany(labels) =
                    card
                {
                    labels.labels.iter().for_each(|label| visit(label));
                }
            }
        }
        _ => {}
    }
    each_part(expr, &mut |part| each_string(part, visit));
}

/// The expressions that an expression is made of.
fn each_part(expr: &mut Expr, visit: &mut dyn FnMut(&mut Expr)) {
    match expr {
        Expr::Subquery(subquery) => visit(&mut subquery.expr),
        Expr::Paren(paren) => visit(&mut paren.expr),
        Expr::Unary(unary) => visit(&mut unary.expr),
        Expr::Aggregate(aggregate) => {
            visit(&mut aggregate.expr);
            aggregate.param.iter_mut().for_each(|param| visit(param));
        }
        Expr::Binary(binary) => {
            visit(&mut binary.lhs);
            visit(&mut binary.rhs);
        }
        Expr::Call(call) => call.args.args.iter_mut().for_each(|argument| visit(argument)),
        Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::Extension(_) => {}
    }
}

const SAMPLE_SERIES: &str = "a_sample_series";
const ODD_SAMPLE_SERIES: &str = "an.odd.sample.series";
const SAMPLE_KEY: &str = "a_sample_key";
const SAMPLE_VALUE: &str = "a-sample-value";
/// The value of a label that a query asks for: valid as a name too, which it may be used as.
const ASKED_VALUE: &str = "a_sample_value";
pub(crate) const SAMPLE_NAMESPACE: &str = "a-sample-namespace";
const SAMPLE_OBJECT: &str = "a-sample-object";
