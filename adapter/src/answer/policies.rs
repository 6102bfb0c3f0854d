//! What the policies of a rule make of one answer of the source: `onPartial` before it is read, `onEmpty` for what it
//! lacks (D90, D91).

use std::sync::Arc;
use std::time::Duration;

use apiservice::status::ApiError;
use rules::catalog::Origin;
use rules::plan::Query;
use rules::policy::{OnEmpty, OnPartial, Policy};
use selector::labels::Selector;

use super::Answerer;
use super::record::Record;
use crate::last_values::{Key, LastValues, Limits, Served};
use crate::source::QueryResult;
use crate::telemetry::RuleFailure;
use crate::values::{Joined, ObjectValue};

/// How one answer is read.
pub(super) struct Reading {
    /// The rule's, as far as it holds for this answer.
    pub(super) policy: Policy,
    /// Whether the answer lacks nothing that the source has.
    is_whole: bool,
    now_ms: i64,
}

/// The values that were served last for what one request asks.
pub(super) struct Last<'a> {
    values: &'a LastValues,
    limits: Arc<Limits>,
    max_age: Duration,
    is_whole: bool,
    now_ms: i64,
}

impl Answerer {
    /// Applies `onPartial`, and tells how to read the answer otherwise.
    pub(super) fn reading(
        &self,
        origin: &Origin,
        query: &Query,
        (result, now_ms): (&QueryResult, i64),
        record: &mut Record,
    ) -> Result<Reading, ApiError> {
        let policy = origin.policy();
        if let (OnPartial::Error, Some(warning)) = (policy.on_partial, result.warnings.first()) {
            self.telemetry.rule_failed(query.rule, RuleFailure::Partial);
            record.note(|notes| notes.partial(query, warning));
            return Err(ApiError::unavailable(format!(
                "unable to fetch metrics by {}: the answer may be partial: {warning}",
                query.rule
            )));
        }
        let is_whole = result.warnings.is_empty() && result.histograms_dropped == 0;
        let policy = Policy { on_empty: policy.on_empty.of_answer(!is_whole), ..policy };
        Ok(Reading { policy, is_whole, now_ms })
    }

    /// The values that were served last, where the rule says `onEmpty: last(...)`.
    pub(super) fn last(&self, reading: &Reading, limits: impl FnOnce() -> Limits) -> Option<Last<'_>> {
        let OnEmpty::Last(max_age) = reading.policy.on_empty else { return None };
        let Reading { is_whole, now_ms, .. } = *reading;
        Some(Last { values: &self.last_values, limits: Arc::new(limits()), max_age, is_whole, now_ms })
    }

    /// Counts the values that a policy made, and notes which.
    pub(super) fn made<'v>(
        &self,
        values: impl Iterator<Item = &'v ObjectValue> + Clone,
        policy: Policy,
        record: &mut Record,
    ) {
        for value in values.clone() {
            self.telemetry.value_made(value.made_by);
        }
        record.note(|notes| notes.made(values, policy));
    }
}

impl Last<'_> {
    /// Keeps what samples say of objects, and gives those without a sample what was served last.
    pub(super) fn complete(&self, objects: &[Arc<str>], joined: &mut Joined) {
        let key = |position: usize| Key {
            limits: Arc::clone(&self.limits),
            object: Some(Arc::clone(&objects[position])),
        };
        for (position, value) in joined.values.iter().filter(|_| self.is_whole) {
            self.keep(key(*position), vec![Served { labels: None, value: *value }]);
        }
        joined.fill(|position| Some(self.find(&key(position))?.first()?.value));
    }

    /// The values of an external metric: what samples say is kept, and served again when there is none.
    pub(super) fn instead_of(&self, served: Vec<Served>) -> Vec<Served> {
        let key = Key { limits: Arc::clone(&self.limits), object: None };
        if served.is_empty() {
            return self.find(&key).unwrap_or_default();
        }
        if self.is_whole {
            self.keep(key, served.clone());
        }
        served
    }

    fn keep(&self, key: Key, served: Vec<Served>) {
        self.values.keep(key, served.into(), self.max_age, self.now_ms);
    }

    fn find(&self, key: &Key) -> Option<Vec<Served>> {
        self.values.find(key, self.max_age, self.now_ms)
    }
}

/// What limits the query of a rule beside the names of objects. `resource` is empty for an external metric.
pub(super) fn limits(
    origin: &Origin,
    (metric, resource): (&str, String),
    namespace: Option<&str>,
    selector: &Selector,
) -> Limits {
    Limits {
        metric: metric.to_owned(),
        resource,
        namespace: namespace.map(str::to_owned),
        selector: selector.to_string(),
        template: origin.template().to_owned(),
        series: origin.series().to_owned(),
    }
}
