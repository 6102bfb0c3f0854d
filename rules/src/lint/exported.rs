//! `exported_pod` beside `pod`: where a target's series have a label that the scrape adds too, Prometheus renames the
//! target's own, and the plain label names what was scraped.

use promql_parser::label::Matcher;
use promql_parser::parser::Expr;

use crate::resource::{ResolvedLabels, StaticMapper};
use crate::sample::each_name;

/// A label in whose place the rule should map the `exported_` one that it names too.
pub(super) fn shadowed(
    tree: &Expr,
    matchers: &[Matcher],
    (labels, mapper): (&ResolvedLabels, &StaticMapper),
) -> Option<String> {
    let mut names: Vec<String> = matchers.iter().map(|matcher| matcher.name.clone()).collect();
    each_name(&mut tree.clone(), &mut |name| names.push(name.to_owned()));
    names.into_iter().find_map(|name| {
        let plain = name.strip_prefix(EXPORTED)?;
        let is_mapped = |label| labels.kind_of(label, mapper).is_some();
        (is_mapped(plain) && !is_mapped(&name)).then(|| plain.to_owned())
    })
}

pub(super) const EXPORTED: &str = "exported_";
