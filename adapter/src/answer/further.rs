//! Questions beyond the request's own, for an explanation: where the samples end when the rule's query found none. They
//! are limited to the namespace of the request by the code that limits rules' queries. What is read from their answers
//! is numbers, names of objects that were asked for, names of labels, and label values of samples that say they are of
//! the namespace.

use std::time::{Duration, Instant};

use rules::catalog::Origin;
use selector::labels::Selector;

use super::record::Notes;
use super::{Answerer, QueryContext};
use crate::explanation::{Reason, counted};
use crate::source::guard::Flow;
use crate::source::{Sample, Samples};

/// What was asked for.
pub(super) struct Sought<'a> {
    pub(super) origin: &'a Origin,
    /// `None` for objects that are in no namespace, and for a rule that does not look at it.
    pub(super) namespace: Option<&'a str>,
    pub(super) selector: &'a Selector,
    /// The label of the objects, and their names; `None` for an external metric.
    pub(super) objects: Option<(&'a str, &'a [&'a str])>,
    /// What the objects are called: `pods`.
    pub(super) what: &'a str,
    /// The time of the request's own query.
    pub(super) context: QueryContext<'a>,
}

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

    /// The samples of a further question; `None` without an answer.
    pub(super) async fn ask_further(&self, context: QueryContext<'_>, promql: &str) -> Option<Vec<Sample>> {
        let QueryContext { namespace, time, deadline } = context;
        let deadline = deadline.min(Instant::now() + LONGEST);
        match self.source.ask(Flow::Namespace(namespace), promql, time, deadline).await.ok()?.value {
            Samples::Vector(samples) => Some(samples),
            Samples::Scalar { .. } => None,
        }
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
        let promql = sought.origin.samples_within(range, limits, sought.label()).ok()?;
        let Some(samples) = self.ask_further(sought.context, &promql).await else {
            notes.further("the metric source did not say where the samples end".to_owned());
            return None;
        };
        let asked = samples.iter().filter(|sample| sought.is_of(sample)).map(|sample| sample.value);
        Some(Counted { most: asked.reduce(f64::max), all: samples.len() })
    }
}

impl Sought<'_> {
    /// Where the series were looked for, as the end of a sentence.
    pub(super) fn place(&self) -> String {
        self.namespace.map(|namespace| format!(" in the namespace {namespace}")).unwrap_or_default()
    }

    /// The label of the objects.
    pub(super) fn label(&self) -> Option<&str> {
        self.objects.map(|(label, _)| label)
    }

    /// Whether a sample is of an object asked for.
    pub(super) fn is_of(&self, sample: &Sample) -> bool {
        match self.objects {
            None => true,
            Some((label, names)) => sample.label(label).is_some_and(|name| names.contains(&name)),
        }
    }
}

/// How far back samples are looked for.
const LONG: Duration = Duration::from_hours(1);
/// The most time for one of these questions.
pub(super) const LONGEST: Duration = Duration::from_secs(5);
