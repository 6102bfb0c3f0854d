//! Where the samples of a metric end, for an explanation of a rule's query that found none.

use std::time::Duration;

use rules::catalog::own_queries;
use selector::labels::Selector;

use super::Answerer;
use super::record::Notes;
use super::sought::Sought;
use crate::explanation::{Reason, counted};

/// Objects that have samples, each with the number of its samples.
struct Counted {
    /// The most samples of one series of what was asked for.
    most: Option<f64>,
    /// Objects, or series of an external metric, with samples.
    all: usize,
}

impl Answerer {
    /// Finds out where samples end and notes it, with the cause.
    pub(super) async fn look_further(&self, sought: &Sought<'_>, notes: &mut Notes) {
        let everything = Selector::everything();
        let series = sought.origin.series();
        let place = sought.place();
        let Some(of_hour) = self.count(sought, &everything, Some(LONG), notes).await else { return };
        if of_hour.most.is_none() {
            self.look_for_labels(sought, notes).await;
        }
        if of_hour.all == 0 {
            notes.cause(Reason::NoSeries, || {
                format!(
                    "{series} has had no sample{place} for an hour, so the query of {} finds none",
                    sought.origin.rule()
                )
            });
            return;
        }
        let Some(most) = of_hour.most else {
            let what = sought.what;
            notes.cause(Reason::NoSeriesOfObjects, || {
                let others = match of_hour.all {
                    1 => format!("one of the {what}"),
                    others => format!("{others} {what}"),
                };
                format!("{series} has samples of {others}{place}, and of none that was asked for")
            });
            return;
        };
        let most = counted(most as usize, "sample");
        notes.further(format!("{series} has at most {most} of one series asked for within an hour"));
        if !sought.selector.is_empty() {
            let Some(selected) = self.count(sought, sought.selector, Some(LONG), notes).await else { return };
            if selected.most.is_none() {
                let instead = self.values_instead(sought).await;
                notes.cause(Reason::SelectorMatchesNothing, || {
                    format!(
                        "the metric selector {} matches no series of {series}{place}{instead}",
                        sought.selector
                    )
                });
                return;
            }
        }
        let Some(current) = self.count(sought, sought.selector, None, notes).await else { return };
        let rule = sought.origin.rule();
        let too_short = match sought.origin.window() {
            None => None,
            Some(window) => {
                let Some(within) = self.count(sought, sought.selector, Some(window), notes).await else {
                    return;
                };
                within.most.is_none_or(|most| most < 2.0).then_some((window, within.most.unwrap_or(0.0)))
            }
        };
        match (current.most, too_short) {
            (Some(_), Some((window, most))) => notes.cause(Reason::RangeTooShort, || {
                format!("the range of the query of {rule}, {window:?}, holds {} of {series}, and a rate needs 2: it is shorter than two scrapes", counted(most as usize, "sample"))
            }),
            (None, Some(_)) => self.ended(sought, notes).await,
            (None, None) if sought.origin.window().is_none() => self.ended(sought, notes).await,
            _ => {}
        }
        notes.cause(Reason::NoSamples, || {
            format!("the query of {} finds no sample, though {series} has recent ones{place}: its own matchers or its arithmetic leave none", sought.origin.rule())
        });
    }

    /// Samples within a range, or at this instant; `None` when they cannot be counted, which is noted.
    async fn count(
        &self,
        sought: &Sought<'_>,
        selector: &Selector,
        range: Option<Duration>,
        notes: &mut Notes,
    ) -> Option<Counted> {
        let limits = (sought.namespace, selector);
        let promql = own_queries::samples_within(sought.origin, range, limits, sought.label()).ok()?;
        let Some(samples) = self.ask_further(sought.context, &promql).await else {
            notes.further("the metric source did not say where the samples end".to_owned());
            return None;
        };
        let asked = samples.iter().filter(|sample| sought.is_of(sample)).map(|sample| sample.value);
        Some(Counted { most: asked.reduce(f64::max), all: samples.len() })
    }
}

/// How far back samples are looked for.
const LONG: Duration = Duration::from_hours(1);
