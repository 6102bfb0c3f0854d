//! Rediscovers which series exist and publishes the catalog of metrics that the rules make of them.
//!
//! Each series query stands alone: one that fails keeps what it found last for `--metrics-max-age`, is retried by a
//! clock of its own, and the others go on (upstream drops everything at the first failure). Readers take one snapshot
//! per request.

mod schedule;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use futures_util::stream;
use rules::catalog::{Catalog, Series};
use rules::joined_queries::{self, SeriesQueries};
use rules::{RuleId, RuleSet};
use tokio::sync::watch;
use tokio::time::Instant;

use self::schedule::{Outcome, Schedule};
use crate::objects::Objects;
use crate::source::{MetricSource, SourceError};
use crate::telemetry::{RuleFailure, Telemetry};

/// What requests see: one consistent catalog, and what is missing from it.
pub struct Snapshot {
    /// The rules that made it.
    pub rules: Arc<RuleSet>,
    /// The metrics that are known.
    pub catalog: Arc<Catalog>,
    /// Series queries that never succeeded so far and why; a metric that is not in the catalog may be theirs.
    pub unlisted: Vec<Unlisted>,
    /// What the series queries found, by query. Absent: never listed, or too long ago.
    pub listings: Arc<HashMap<Arc<str>, Listing>>,
}

/// A series query without any result yet.
#[derive(Debug, Clone)]
pub struct Unlisted {
    /// The query as in the rule file.
    pub series_query: Arc<str>,
    /// Why it has no result.
    pub cause: Arc<str>,
}

/// The current catalog. Cheap to clone; a reader takes one [`Snapshot`] and keeps it for a request.
#[derive(Clone)]
pub struct CatalogHandle(Arc<ArcSwap<Snapshot>>);

impl CatalogHandle {
    /// A handle whose catalog is empty because nothing was listed yet.
    pub fn waiting(rules: &Arc<RuleSet>, objects: &dyn Objects) -> CatalogHandle {
        let cause: Arc<str> = Arc::from("the first listing of series has not finished");
        let waiting =
            |query: &Arc<str>| Unlisted { series_query: Arc::clone(query), cause: Arc::clone(&cause) };
        let unlisted = rules.series_queries().map(waiting).collect();
        let catalog = Catalog::build(rules, &HashMap::new(), objects.mapper());
        CatalogHandle(Arc::new(ArcSwap::from_pointee(Snapshot {
            rules: Arc::clone(rules),
            catalog: Arc::new(catalog),
            unlisted,
            listings: Arc::default(),
        })))
    }

    /// A handle whose catalog never changes.
    pub fn fixed(snapshot: Snapshot) -> CatalogHandle {
        CatalogHandle(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    /// The current snapshot.
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

/// How often series are listed and how far back.
#[derive(Debug, Clone, Copy)]
pub struct RelistSettings {
    /// Pause between the end of one listing of all series queries and the start of the next.
    pub interval: Duration,
    /// A series counts if it had a sample within this time; a failing query keeps its result this long.
    pub max_age: Duration,
    /// Limit for one series query, from its start.
    pub timeout: Duration,
}

/// Lists series again and again.
pub struct Relister {
    settings: RelistSettings,
    source: Arc<dyn MetricSource>,
    objects: Arc<dyn Objects>,
    changes: Changes,
    handle: CatalogHandle,
    telemetry: Arc<Telemetry>,
    schedule: Schedule,
    listings: Arc<HashMap<Arc<str>, Listing>>,
    /// Why series queries failed when they were last listed.
    failed: HashMap<Arc<str>, Arc<str>>,
    /// Series queries that are asked by themselves until all are listed again: together with others they failed.
    alone: HashSet<Arc<str>>,
    /// The current catalog, and the rules that it is made of; `None` once what it is made of has changed.
    catalog: Option<(Arc<RuleSet>, Arc<Catalog>)>,
    /// The warnings of the current catalog.
    warned: BTreeSet<String>,
}

/// What a catalog depends on besides the series.
pub struct Changes {
    /// The current rules.
    pub rules: watch::Receiver<Arc<RuleSet>>,
    /// Tells when the kinds of objects have changed.
    pub kinds: watch::Receiver<()>,
    /// Tells when the source answers again after it was not asked for a while.
    pub recoveries: watch::Receiver<()>,
}

/// The last good result of one series query. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The series, each combination of a name and label names once.
    pub series: Arc<[Series]>,
    /// When it was made.
    pub listed_at: Instant,
    /// Why the query failed since; `None` when the last attempt succeeded.
    pub failed: Option<Arc<str>>,
}

impl Relister {
    /// A relister that has listed nothing yet.
    pub fn new(
        settings: RelistSettings,
        source: Arc<dyn MetricSource>,
        objects: Arc<dyn Objects>,
        changes: Changes,
        handle: CatalogHandle,
        telemetry: Arc<Telemetry>,
    ) -> Relister {
        Relister {
            schedule: Schedule::new(settings.interval),
            settings,
            source,
            objects,
            changes,
            handle,
            telemetry,
            listings: Arc::default(),
            failed: HashMap::new(),
            alone: HashSet::new(),
            catalog: None,
            warned: BTreeSet::new(),
        }
    }

    /// Lists now, at each interval and when the rules change, and what failed when the source answers again, until the
    /// program ends. When kinds change, what was listed makes another catalog. `published` is told after each. Both can
    /// take seconds of computing: it belongs on a thread of its own.
    pub async fn run(mut self, mut published: impl FnMut(&Snapshot) + Send) {
        loop {
            self.relist().await;
            published(&self.handle.load());
            let sleep = tokio::time::sleep_until(self.schedule.next().unwrap_or_else(Instant::now));
            tokio::pin!(sleep);
            loop {
                tokio::select! {
                    () = &mut sleep => break,
                    () = changed(&mut self.changes.rules) => {
                        self.schedule.restart();
                        break;
                    }
                    () = changed(&mut self.changes.kinds) => {
                        self.catalog = None;
                        self.publish();
                        published(&self.handle.load());
                    }
                    () = changed(&mut self.changes.recoveries) => {
                        if self.schedule.retry_failed(Instant::now()) {
                            // The outage was at fault, and not that they were asked together.
                            self.alone.clear();
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Lists the series queries that are due.
    async fn relist(&mut self) {
        let started = Instant::now();
        // They may have changed in the moment in which something was due.
        if self.changes.rules.has_changed().unwrap_or_default() {
            self.schedule.restart();
        }
        let rules = self.changes.rules.borrow_and_update().clone();
        if self.changes.kinds.has_changed().unwrap_or_default() {
            self.catalog = None;
        }
        self.changes.kinds.mark_unchanged();
        // Rules may share a query.
        let mut rules_of: HashMap<&str, Vec<RuleId>> = HashMap::new();
        for rule in rules.custom.iter().chain(&rules.external) {
            rules_of.entry(&rule.series_query).or_default().push(rule.id);
        }
        if self.listings.keys().any(|query| !rules_of.contains_key(&**query)) {
            Arc::make_mut(&mut self.listings).retain(|query, _| rules_of.contains_key(&**query));
        }
        self.failed.retain(|query, _| rules_of.contains_key(&**query));
        self.telemetry.rules_changed(&rules);
        let (due, all) = self.schedule.due(rules.series_queries().cloned().collect(), started);
        if all {
            self.alone.clear();
        }
        let outcomes = self.list(due).await;
        let (now, listed_at) = (Instant::now(), SystemTime::now());
        if all {
            self.schedule.listed_all(now);
        }
        for (query, outcome) in outcomes {
            for &rule in rules_of.get(&*query).into_iter().flatten() {
                match &outcome {
                    Ok(_) => self.telemetry.rule_listed(rule, listed_at),
                    Err(error) => self.telemetry.rule_failed(rule, RuleFailure::Source(error.class)),
                }
            }
            match outcome {
                Ok(series) => self.listed(query, series, now),
                Err(error) => self.not_listed(query, &error, now),
            }
        }
        self.forget_old();
        let snapshot = self.publish();
        let failed = self.failed.len();
        self.telemetry.relisted(&snapshot.catalog, failed, started.elapsed(), listed_at);
    }

    fn listed(&mut self, query: Arc<str>, series: Vec<Series>, now: Instant) {
        let outcome = if series.is_empty() { Outcome::Empty } else { Outcome::Found };
        self.schedule.listed(&query, outcome, now);
        self.failed.remove(&query);
        let known = self.listings.get(&query).filter(|known| known.series[..] == series[..]);
        let series = if let Some(known) = known {
            Arc::clone(&known.series)
        } else {
            self.catalog = None;
            series.into()
        };
        let listing = Listing { series, listed_at: now, failed: None };
        Arc::make_mut(&mut self.listings).insert(query, listing);
    }

    fn not_listed(&mut self, query: Arc<str>, error: &SourceError, now: Instant) {
        let effect = if self.listings.contains_key(&query) {
            "keeping the series listed before, up to --metrics-max-age"
        } else {
            "its rules produce no metric until it succeeds"
        };
        tracing::warn!(series_query = %query, %error, "series query failed; {effect}");
        self.schedule.listed(&query, Outcome::Failed, now);
        let cause: Arc<str> = error.to_string().into();
        if let Some(listing) = Arc::make_mut(&mut self.listings).get_mut(&query) {
            listing.failed = Some(Arc::clone(&cause));
        }
        self.failed.insert(query, cause);
    }

    /// Lists series queries, those as one that can be.
    async fn list(&mut self, queries: Vec<Arc<str>>) -> Vec<(Arc<str>, Result<Vec<Series>, SourceError>)> {
        let (alone, together): (Vec<_>, Vec<_>) =
            queries.into_iter().partition(|query| self.alone.contains(query));
        let asked = alone.into_iter().map(SeriesQueries::One).chain(joined_queries::join(together));
        let this = &*self;
        let answers: Vec<_> = stream::iter(asked)
            .map(|asked| async move {
                let selector: &str = match &asked {
                    SeriesQueries::One(query) => query,
                    SeriesQueries::Joined { selector, .. } => selector,
                };
                let answer = this.series(selector).await;
                (asked, answer)
            })
            .buffer_unordered(CONCURRENT_SERIES_QUERIES)
            .collect()
            .await;
        let mut outcomes = Vec::new();
        for (asked, answer) in answers {
            match (asked, answer) {
                (SeriesQueries::One(query), answer) => outcomes.push((query, answer)),
                (SeriesQueries::Joined { queries, .. }, Ok(series)) => {
                    let mut by_name: HashMap<Arc<str>, Vec<Series>> = HashMap::new();
                    for series in series {
                        by_name.entry(Arc::clone(&series.name)).or_default().push(series);
                    }
                    outcomes.extend(queries.into_iter().map(|(query, name)| {
                        let series = by_name.get(name.as_str()).cloned().unwrap_or_default();
                        (query, Ok(series))
                    }));
                }
                (SeriesQueries::Joined { queries, .. }, Err(error)) => {
                    // One of them may be at fault, or all together too much.
                    self.alone.extend(queries.iter().map(|(query, _)| Arc::clone(query)));
                    outcomes.extend(queries.into_iter().map(|(query, _)| (query, Err(error.clone()))));
                }
            }
        }
        outcomes
    }

    async fn series(&self, selector: &str) -> Result<Vec<Series>, SourceError> {
        let since = SystemTime::now() - self.settings.max_age;
        let deadline = std::time::Instant::now() + self.settings.timeout;
        let listing = self.source.series(selector, since, deadline).await?;
        for warning in &listing.warnings {
            tracing::warn!(series_query = %selector, %warning, "metric source warned; its answer may be partial");
        }
        self.telemetry.source_warnings(listing.warnings.len());
        Ok(listing.series)
    }

    /// A failing query keeps its last result only for the maximum age.
    fn forget_old(&mut self) {
        let (max_age, failed) = (self.settings.max_age, &self.failed);
        let is_old =
            |query: &Arc<str>, of: &Listing| failed.contains_key(query) && of.listed_at.elapsed() > max_age;
        if self.listings.iter().any(|(query, listing)| is_old(query, listing)) {
            Arc::make_mut(&mut self.listings).retain(|query, listing| !is_old(query, listing));
            self.catalog = None;
        }
    }

    /// What the rules make of what was listed: made only when one of them has changed.
    fn catalog(&mut self, rules: &Arc<RuleSet>) -> Arc<Catalog> {
        let known = self.catalog.take().filter(|(made_of, _)| Arc::ptr_eq(made_of, rules));
        let catalog = known.map_or_else(|| self.build(rules), |(_, catalog)| catalog);
        self.catalog = Some((Arc::clone(rules), Arc::clone(&catalog)));
        catalog
    }

    fn build(&mut self, rules: &RuleSet) -> Arc<Catalog> {
        let discovered = self.listings.iter().map(|(query, listing)| (&**query, &*listing.series)).collect();
        let catalog = Catalog::build(rules, &discovered, self.objects.mapper());
        // Once, not at each listing.
        let warnings: BTreeSet<String> = catalog.warnings().iter().cloned().collect();
        for warning in warnings.difference(&self.warned) {
            tracing::warn!("{warning}");
        }
        self.warned = warnings;
        Arc::new(catalog)
    }

    /// Publishes what is known now.
    fn publish(&mut self) -> Arc<Snapshot> {
        let rules = Arc::clone(&self.changes.rules.borrow());
        let unlisted = rules
            .series_queries()
            .filter(|query| !self.listings.contains_key(*query))
            .filter_map(|query| {
                let cause = Arc::clone(self.failed.get(query)?);
                Some(Unlisted { series_query: Arc::clone(query), cause })
            })
            .collect();
        let catalog = self.catalog(&rules);
        let listings = Arc::clone(&self.listings);
        let snapshot = Arc::new(Snapshot { rules, catalog, unlisted, listings });
        self.handle.0.store(Arc::clone(&snapshot));
        snapshot
    }
}

/// Waits for a change; without end once nothing can make one.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Maximum number of concurrent series queries: enough to hide latency, few enough to spare a busy Prometheus.
const CONCURRENT_SERIES_QUERIES: usize = 4;
