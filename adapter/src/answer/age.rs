//! How old the samples of a metric are, for an explanation. The answer to a query does not say it: Prometheus gives
//! every sample the time of the query, and serves one for five minutes unless its target says that it has ended.

use std::time::Duration;

use rules::Rule;
use rules::catalog::own_queries::{self, LookBack};

use super::record::Notes;
use super::sought::Sought;
use super::{Answerer, QueryContext, unix_ms};
use crate::explanation::Reason;

impl Answerer {
    /// The series had samples, and has none now: how long ago they ended.
    pub(super) async fn ended(&self, sought: &Sought<'_>, notes: &mut Notes) {
        let limits = (sought.namespace, sought.selector);
        let mut age = None;
        for back in LOOKS {
            let Ok(promql) = own_queries::newest_sample(sought.origin, Some(back), limits, sought.label())
            else {
                break;
            };
            let ages = self.ages(sought, &promql).await;
            age = ages.into_iter().map(|(_, age)| age).reduce(f64::min);
            if age.is_some() {
                break;
            }
        }
        let had = match age {
            Some(age) => {
                format!("the last one is {} old, and the metric source no longer serves it", written(age))
            }
            None => "it had some within an hour".to_owned(),
        };
        notes.cause(Reason::StaleSamples, || {
            format!(
                "{} has no current sample{}: {had}; its target is gone, does not answer, or no longer exports it",
                sought.origin.series(),
                sought.place()
            )
        });
    }

    /// There are values: whether the metric source makes them of old samples.
    pub(super) async fn look_at_age(&self, sought: &Sought<'_>, notes: &mut Notes) {
        let limits = (sought.namespace, sought.selector);
        let Ok(promql) = own_queries::newest_sample(sought.origin, None, limits, sought.label()) else {
            return;
        };
        let ages = self.ages(sought, &promql).await;
        let Some((object, age)) = ages.into_iter().max_by(|(_, left), (_, right)| left.total_cmp(right))
        else {
            return;
        };
        if !is_old(age) {
            return;
        }
        let of = object.map(|object| format!(" of {object}")).unwrap_or_default();
        let sentence = format!(
            "the newest sample of {}{of}{} is {} old, and the metric source still serves it: its exporter sends times of \
             its own, or is scraped less often",
            sought.origin.series(),
            sought.place(),
            written(age)
        );
        if notes.has_cause() {
            notes.warn(&sentence);
        } else {
            notes.cause(Reason::StaleSamples, || sentence);
        }
    }

    /// How long ago series ended of which the metric source has none now, in seconds; `None` without one in an hour.
    pub(super) async fn age_of_the_name(&self, rule: &Rule, context: QueryContext<'_>) -> Option<f64> {
        for back in LOOKS {
            let samples =
                self.ask_further(context, &own_queries::newest_sample_of_the_name(rule, back)?).await?;
            if let Some(newest) = samples.first().map(|newest| newest.value) {
                return Some(of(context, newest));
            }
        }
        None
    }

    /// The age of the newest sample of each object asked for, in seconds.
    async fn ages(&self, sought: &Sought<'_>, promql: &str) -> Vec<(Option<String>, f64)> {
        let samples = self.ask_further(sought.context, promql).await.unwrap_or_default();
        let asked = samples.iter().filter(|sample| sought.is_of(sample) && sample.value.is_finite());
        asked
            .map(|sample| {
                let object = sought.label().and_then(|label| sample.label(label));
                (object.map(str::to_owned), of(sought.context, sample.value))
            })
            .collect()
    }
}

/// How long before the query a time was, which is in seconds since the epoch.
pub(super) fn of(context: QueryContext<'_>, time: f64) -> f64 {
    (unix_ms(context.time) as f64 / 1000.0 - time).max(0.0)
}

/// Whether samples of this age, in seconds, are no longer taken regularly.
pub(super) fn is_old(seconds: f64) -> bool {
    seconds >= OLD.as_secs_f64()
}

/// An age for people: `42 s`, `12 min`.
pub(super) fn written(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// Closely first, since a series may be young, then as far back as samples are counted.
const LOOKS: [LookBack; 2] = [
    LookBack { range: Duration::from_mins(5), step: Duration::from_secs(1) },
    LookBack { range: Duration::from_hours(1), step: Duration::from_secs(15) },
];
/// Two scrapes of Prometheus' own interval, which is a minute.
const OLD: Duration = Duration::from_mins(2);
