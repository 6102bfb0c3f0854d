//! When series are listed, and which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use adapter::objects::scraped::ScrapedObjects;
use adapter::relist::{CatalogHandle, Changes, RelistSettings, Relister};
use adapter::source::recorded::Recorded;
use adapter::source::{Listing, MetricSource, QueryResult, SourceError};
use adapter::telemetry::Telemetry;
use futures_util::future::BoxFuture;
use rules::RuleSet;
use rules::catalog::Series;
use tokio::sync::watch;

/// Counts the listings of each series query. One that is not recorded fails.
#[derive(Default)]
struct Counting {
    recorded: Recorded,
    listed: Mutex<HashMap<String, usize>>,
}

impl Counting {
    fn listed(&self) -> [usize; 3] {
        let listed = self.listed.lock().expect("the test panics alone");
        ["found", "empty", "failing"].map(|query| listed.get(query).copied().unwrap_or_default())
    }
}

impl MetricSource for Counting {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        since: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        *self.listed.lock().expect("the test panics alone").entry(selector.to_owned()).or_default() += 1;
        self.recorded.series(selector, since, deadline)
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        time: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        self.recorded.query(promql, time, deadline)
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.recorded.ready()
    }

    fn name(&self) -> &str {
        self.recorded.name()
    }
}

fn rules(queries: &[&str]) -> Arc<RuleSet> {
    let rule = |query: &&str| {
        format!(
            "- {{seriesQuery: {query}, resources: {{overrides: {{pod: {{resource: pod}}, namespace: {{resource: namespace}}}}}}, \
             metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'}}\n"
        )
    };
    let text = format!("rules:\n{}", queries.iter().map(rule).collect::<String>());
    Arc::new(::rules::load(&text).expect("valid rules"))
}

/// What makes a relister list.
struct Senders {
    rules: watch::Sender<Arc<RuleSet>>,
    recoveries: watch::Sender<()>,
}

/// A relister of rules that change by a channel, and what it publishes.
fn relister(source: &Arc<Counting>, rules: &Arc<RuleSet>) -> (Relister, CatalogHandle, Senders) {
    let source = Arc::clone(source) as Arc<dyn MetricSource>;
    let objects = Arc::new(ScrapedObjects::new(Arc::clone(&source)));
    let catalog = CatalogHandle::waiting(rules, &*objects);
    let (publish, follow) = watch::channel(Arc::clone(rules));
    let (_, kinds) = watch::channel(());
    let (recovered, recoveries) = watch::channel(());
    let interval = Duration::from_mins(10);
    let settings = RelistSettings { interval, max_age: interval, timeout: Duration::from_secs(5) };
    let changes = Changes { rules: follow, kinds, recoveries };
    let telemetry = Arc::new(Telemetry::new(rules));
    let relister = Relister::new(settings, source, objects, changes, catalog.clone(), telemetry);
    (relister, catalog, Senders { rules: publish, recoveries: recovered })
}

/// One empty series query, which any workload at zero has, made all queries be listed again and again.
#[tokio::test(start_paused = true)]
async fn only_what_failed_or_was_empty_is_listed_between_intervals() {
    let source = Arc::new(Counting::default());
    let label_names = ["namespace", "pod"].into_iter().map(Arc::from).collect();
    let series = vec![Series { name: "found".into(), label_names }];
    source.recorded.lists("found", Ok(Listing { series, warnings: Vec::new() }));
    source.recorded.lists("empty", Ok(Listing { series: Vec::new(), warnings: Vec::new() }));
    let first = rules(&["found", "empty", "failing"]);
    let (relister, catalog, senders) = relister(&source, &first);
    let started = tokio::time::Instant::now();
    tokio::spawn(relister.run(|_| {}));
    // After 1, 3, 7, 15 and 31 s both are retried; after 63, 127, 255 and 511 s only what fails.
    for (until, expected) in [
        (Duration::from_millis(500), [1, 1, 1]),
        (Duration::from_secs(32), [1, 6, 6]),
        (Duration::from_secs(599), [1, 6, 10]),
        (Duration::from_secs(605), [2, 7, 11]),
        (Duration::from_secs(3605), [7, 12, 16]),
    ] {
        tokio::time::sleep_until(started + until).await;
        assert_eq!(source.listed(), expected, "after {until:?}");
    }
    // What fails stays named beside what was found.
    let snapshot = catalog.load();
    assert_eq!(snapshot.unlisted.len(), 1);
    // Other rules are listed as they come, and those that stay with them.
    senders.rules.send(rules(&["found", "empty"])).expect("the relister runs");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(source.listed(), [8, 13, 16]);
    assert!(catalog.load().unlisted.is_empty());
}

/// After an outage of minutes metrics stayed away for as many.
#[tokio::test(start_paused = true)]
async fn what_failed_is_listed_when_the_source_answers_again() {
    let source = Arc::new(Counting::default());
    let label_names = ["namespace", "pod"].into_iter().map(Arc::from).collect();
    let series = vec![Series { name: "failing".into(), label_names }];
    let found = Ok(Listing { series, warnings: Vec::new() });
    source.recorded.lists("found", found.clone());
    let (relister, catalog, senders) = relister(&source, &rules(&["found", "failing"]));
    tokio::spawn(relister.run(|_| {}));
    // The next retries are after 127 s and 255 s.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(source.listed(), [1, 0, 7]);
    source.recorded.lists("failing", found);
    senders.recoveries.send(()).expect("the relister runs");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(source.listed(), [1, 0, 8]);
    assert!(catalog.load().unlisted.is_empty());
    senders.recoveries.send(()).expect("the relister runs");
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(source.listed(), [1, 0, 8], "nothing failed since");
}

/// Thousands of rules that each name their series took thousands of queries.
#[tokio::test(start_paused = true)]
async fn many_rules_are_listed_by_few_queries_and_one_by_one_after_a_failure() {
    let source = Arc::new(Counting::default());
    let names: Vec<String> = (0..150).map(|index| format!("m{index}")).collect();
    let joined = |names: &[String]| format!("{{__name__=~\"{}\"}}", names.join("|"));
    let label_names: Arc<[Arc<str>]> = ["namespace", "pod"].into_iter().map(Arc::from).collect();
    let found = |names: &[String]| {
        let series =
            |name: &String| Series { name: name.as_str().into(), label_names: Arc::clone(&label_names) };
        Ok(Listing { series: names.iter().map(series).collect(), warnings: Vec::new() })
    };
    // Of the first hundred the last has no series; the other fifty fail together, and one of them by itself.
    source.recorded.lists(&joined(&names[..100]), found(&names[..99]));
    for name in &names[100..149] {
        source.recorded.lists(name, found(std::slice::from_ref(name)));
    }
    let queries: Vec<&str> = names.iter().map(String::as_str).collect();
    let rules = rules(&queries);
    let (relister, catalog, _senders) = relister(&source, &rules);
    tokio::spawn(relister.run(|_| {}));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(source.listed.lock().expect("the test panics alone").len(), 2);
    let snapshot = catalog.load();
    assert_eq!((snapshot.catalog.custom_count(), snapshot.unlisted.len()), (2 * 99, 50));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let snapshot = catalog.load();
    assert_eq!((snapshot.catalog.custom_count(), snapshot.unlisted.len()), (2 * (99 + 49), 1));
}
