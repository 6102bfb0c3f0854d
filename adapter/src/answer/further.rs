//! Questions beyond the request's own, for an explanation: where the samples end when the rule's query found none. They
//! are limited to the namespace of the request by the code that limits rules' queries, and only numbers are read from
//! their answers.

use std::time::{Duration, Instant, SystemTime};

use rules::catalog::Origin;
use selector::labels::Selector;

use super::Answerer;
use super::record::Notes;
use crate::explanation::{MOST_LISTED, Reason};
use crate::source::{Sample, Samples};

/// What was asked for in vain.
pub(super) struct Vain<'a> {
    pub(super) origin: &'a Origin,
    /// `None` for objects that are in no namespace, and for a rule that does not look at it.
    pub(super) namespace: Option<&'a str>,
    pub(super) selector: &'a Selector,
    /// The label of the objects, and their names; `None` for an external metric.
    pub(super) objects: Option<(&'a str, &'a [&'a str])>,
    /// What the objects are called: `pods`.
    pub(super) what: &'a str,
    pub(super) now: SystemTime,
    pub(super) deadline: Instant,
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
    pub(super) async fn look_further(&self, vain: &Vain<'_>, notes: &mut Notes) {
        let everything = Selector::everything();
        let series = vain.origin.series();
        let place = match vain.namespace {
            Some(namespace) => format!(" in the namespace {namespace}"),
            None => String::new(),
        };
        let Some(of_hour) = self.count(vain, &everything, LONG, notes).await else { return };
        if of_hour.all == 0 {
            notes.cause(Reason::NoSeries, || {
                format!(
                    "{series} has had no sample{place} for an hour, so the query of {} finds none",
                    vain.origin.rule()
                )
            });
            return;
        }
        let Some(most) = of_hour.most else {
            let what = vain.what;
            notes.cause(Reason::NoSeriesOfObjects, || {
                format!(
                    "{series} has samples of {} {what}{place}, and of none that was asked for",
                    of_hour.all
                )
            });
            return;
        };
        notes.further(format!("{series} has at most {most} samples of one series asked for within an hour"));
        if !vain.selector.is_empty() {
            let Some(selected) = self.count(vain, vain.selector, LONG, notes).await else { return };
            if selected.most.is_none() {
                notes.cause(Reason::SelectorMatchesNothing, || {
                    format!(
                        "the metric selector {} matches no series of {series}{place}: without it there are some",
                        vain.selector
                    )
                });
                return;
            }
        }
        // An instant looks back as far as Prometheus does.
        let window = vain.origin.window();
        let range = window.unwrap_or(LOOKBACK);
        let Some(recent) = self.count(vain, vain.selector, range.max(LOOKBACK), notes).await else { return };
        if recent.most.is_none() {
            let seconds = range.max(LOOKBACK).as_secs();
            notes.cause(Reason::StaleSamples, || {
                format!("the last sample of {series}{place} is more than {seconds} s old: the target is no longer scraped, or no longer exports it")
            });
            return;
        }
        if let Some(window) = window {
            let Some(within) = self.count(vain, vain.selector, window, notes).await else { return };
            let seconds = window.as_secs();
            match within.most {
                None => notes.cause(Reason::RangeTooShort, || {
                    format!("the range of the query of {}, {seconds} s, holds no sample of {series}: it is shorter than the time between two scrapes, or scraping stopped", vain.origin.rule())
                }),
                Some(most) if most < 2.0 => notes.cause(Reason::RangeTooShort, || {
                    format!("the range of the query of {}, {seconds} s, holds 1 sample of {series}, and a rate needs 2: it is shorter than two scrapes", vain.origin.rule())
                }),
                Some(most) => notes.further(format!("{most} of them are within the range of the query")),
            }
        }
        notes.cause(Reason::NoSamples, || {
            format!("the query of {} finds no sample, though {series} has recent ones{place}: its own matchers or its arithmetic leave none", vain.origin.rule())
        });
    }

    /// Samples within a range; `None` when they cannot be counted, which is noted.
    async fn count(
        &self,
        vain: &Vain<'_>,
        selector: &Selector,
        range: Duration,
        notes: &mut Notes,
    ) -> Option<Counted> {
        let by = vain.objects.map(|(label, _)| label);
        let promql = vain.origin.samples_within(range, (vain.namespace, selector), by).ok()?;
        let deadline = vain.deadline.min(Instant::now() + LONGEST);
        let answer = self.source.query(&promql, vain.now, deadline).await;
        let samples = match answer.map(|answer| answer.value) {
            Ok(Samples::Vector(samples)) => samples,
            Ok(Samples::Scalar { .. }) => return None,
            Err(_) => {
                notes.further("the metric source did not say where the samples end".to_owned());
                return None;
            }
        };
        let is_asked = |sample: &&Sample| match vain.objects {
            None => true,
            Some((label, names)) => sample.label(label).is_some_and(|name| names.contains(&name)),
        };
        let asked = samples.iter().filter(is_asked).map(|sample| sample.value);
        Some(Counted { most: asked.reduce(f64::max), all: samples.len() })
    }
}

impl Notes {
    fn further(&mut self, what: String) {
        if self.explanation.further.len() < MOST_LISTED {
            self.explanation.further.push(what);
        }
    }
}

/// How far back samples are looked for.
const LONG: Duration = Duration::from_hours(1);
/// How far back Prometheus looks for the value of an instant, by default.
const LOOKBACK: Duration = Duration::from_mins(5);
/// The most time for one of these questions.
const LONGEST: Duration = Duration::from_secs(5);
