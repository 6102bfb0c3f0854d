//! Runs the tests of a file.

use std::fmt::Write as _;
use std::path::Path;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiservice::authz::Chain;
use apiservice::health::{Health, Scope};
use apiservice::server::Handler as _;
use engine::notation::{self, NotationError};
use engine::{Engine, EngineConfig};
use rules::RuleSet;

use super::answered;
use super::file::{Request, Test, TestFile};
use super::prometheus::{PrometheusError, StartedPrometheus};
use super::world::{Evaluator, LabelledObjects, SharedObjects, WrittenSeries};
use crate::answer::Answerer;
use crate::commands::listed;
use crate::last_values::LastValues;
use crate::objects::Objects as _;
use crate::relist::{CatalogHandle, Snapshot};
use crate::rules_file::{RulesFile, RulesFileError};
use crate::source::guarded::{GuardSettings, Guarded};
use crate::telemetry::Telemetry;

/// Why the tests of a file cannot run.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Rules(#[from] RulesFileError),
    #[error("{name}")]
    Test {
        name: String,
        #[source]
        cause: WorldError,
    },
}

/// Why there is nothing to ask in a test.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorldError {
    #[error(transparent)]
    Series(#[from] NotationError),
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
}

/// What failed of a file.
///
/// # Errors
/// Rules or series that cannot be used, or a Prometheus that does not take them.
pub(super) async fn file(file: &TestFile, program: Option<&Path>) -> Result<Vec<String>, RunError> {
    let mut rules = RuleSet::default();
    for path in file.rule_files() {
        let (_, more) = RulesFile::open(&path, true)?;
        rules.append(more);
    }
    let rules = Arc::new(rules);
    let mut failures = Vec::new();
    for test in &file.tests {
        let failed = self::test(test, &rules, program).await;
        failures.extend(failed.map_err(|cause| RunError::Test { name: test.name.clone(), cause })?);
    }
    Ok(failures)
}

async fn test(test: &Test, rules: &Arc<RuleSet>, program: Option<&Path>) -> Result<Vec<String>, WorldError> {
    let series: Vec<_> =
        test.input_series.iter().map(|series| (series.series.clone(), series.values.clone())).collect();
    let evaluator = if let Some(program) = program {
        Evaluator::Prometheus(StartedPrometheus::start(program, test.interval, &series).await?)
    } else {
        let engine = Engine::new(EngineConfig { retention: FOR_EVER, ..EngineConfig::default() });
        notation::load(engine.store(), test.interval, &series)?;
        Evaluator::Embedded(engine)
    };
    let labels = test.input_series.iter().map(|series| &series.series).chain(&test.objects);
    let objects = Arc::new(LabelledObjects::new(labels));
    let telemetry = Arc::new(Telemetry::new(rules));
    // Requests of a test come after each other, as those of an autoscaler do.
    let last_values = Arc::new(LastValues::default());
    let mut failures = Vec::new();
    for request in &test.requests {
        let source = Arc::new(evaluator.at(request.at)?);
        let catalog = catalog(rules, &source, &objects).await;
        let answerer = Answerer::new(
            catalog,
            Arc::clone(&objects) as _,
            Arc::new(guarded(&source, &telemetry)),
            None,
            Arc::clone(&telemetry),
            Arc::clone(&last_values),
            Chain::new(Vec::new()),
        );
        if let Some(failure) = compared(request, &answerer, &source).await {
            let at = rules::duration::text(request.at);
            failures.push(format!("name: {}, at: {at}, path: {}\n{failure}", test.name, request.path));
        }
    }
    Ok(failures)
}

/// The source as the server asks it. One query comes after the other.
fn guarded(source: &Arc<WrittenSeries>, telemetry: &Arc<Telemetry>) -> Guarded {
    let check = Health::default().check("source", Scope::Ready);
    Guarded::new(Arc::clone(source) as _, GuardSettings::local(1), Arc::clone(telemetry), check)
}

/// What the server lists, as far as the time of a request has seen it.
async fn catalog(rules: &Arc<RuleSet>, source: &WrittenSeries, objects: &SharedObjects) -> CatalogHandle {
    let since = SystemTime::UNIX_EPOCH;
    let (catalog, unlisted) = listed::catalog(source, rules, objects.mapper(), since, LONGEST_LISTING).await;
    CatalogHandle::fixed(Snapshot {
        rules: Arc::clone(rules),
        catalog: Arc::new(catalog),
        unlisted,
        listings: Arc::default(),
    })
}

/// How the answer differs from what is expected; `None` when it does not.
async fn compared(request: &Request, answerer: &Answerer, source: &WrittenSeries) -> Option<String> {
    let answer = match answered::request(&request.path) {
        Ok(asked) => answerer.handle(asked).await.map_err(|error| error.message().to_owned()),
        Err(error) => Err(error),
    };
    let mut failure = String::new();
    if let Some(expected) = &request.promql {
        // What is asked further only explains why there is no value.
        let mut asked = source.asked();
        asked.truncate(expected.len().max(1));
        difference(&mut failure, "promql", expected, &asked);
    }
    match (&request.error, &answer) {
        (Some(expected), Err(found)) if found.contains(expected.as_str()) => {}
        (Some(expected), Err(found)) => {
            difference(&mut failure, "error", from_ref(expected), from_ref(found));
        }
        (Some(expected), Ok(answer)) => {
            let found: Vec<String> = answered::found(answer);
            difference(&mut failure, "error", from_ref(expected), &found);
        }
        (None, Err(found)) => difference(&mut failure, "error", &[], from_ref(found)),
        (None, Ok(answer)) => {
            if request.values.is_some() || request.usage.is_some() {
                difference(&mut failure, "values", &answered::expected(request), &answered::found(answer));
            }
        }
    }
    (!failure.is_empty()).then(|| failure.trim_end().to_owned())
}

/// Lines that are expected and not found, found and not expected, and both, in their order.
fn difference(text: &mut String, what: &str, expected: &[String], found: &[String]) {
    if expected == found {
        return;
    }
    // Writing to memory does not fail.
    let _ = writeln!(text, "  {what}, expected (-) and found (+):");
    for line in expected {
        let sign = if found.contains(line) { ' ' } else { '-' };
        let _ = writeln!(text, "  {sign} {line}");
    }
    for line in found.iter().filter(|line| !expected.contains(line)) {
        let _ = writeln!(text, "  + {line}");
    }
    if expected.iter().all(|line| found.contains(line)) && found.iter().all(|line| expected.contains(line)) {
        let _ = writeln!(text, "  the order is {}", found.join(", "));
    }
}

/// Written series are kept.
const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 200);
const LONGEST_LISTING: Duration = Duration::from_secs(30);
