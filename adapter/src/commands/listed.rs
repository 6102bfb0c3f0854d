//! The catalog of what a source has at one moment, for commands: the server's is kept up to date by `relist`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rules::RuleSet;
use rules::catalog::{Catalog, Series};
use rules::resource::ResourceMapper;

use crate::relist::Unlisted;
use crate::source::MetricSource;

/// Runs every series query once, each for as long as it may take, and tells which failed.
pub(super) async fn catalog(
    source: &dyn MetricSource,
    rules: &RuleSet,
    mapper: &dyn ResourceMapper,
    since: SystemTime,
    longest: Duration,
) -> (Catalog, Vec<Unlisted>) {
    let mut listed: HashMap<&str, Vec<Series>> = HashMap::new();
    let mut unlisted = Vec::new();
    for query in rules.series_queries() {
        match source.series(query, since, Instant::now() + longest).await {
            Ok(listing) => {
                listed.insert(query, listing.series);
            }
            Err(error) => {
                unlisted.push(Unlisted { series_query: Arc::clone(query), cause: error.to_string().into() });
            }
        }
    }
    let discovered = listed.iter().map(|(query, series)| (*query, series.as_slice())).collect();
    (Catalog::build(rules, &discovered, mapper), unlisted)
}
