//! Questions beyond the request's own, for an explanation: where the samples end when the rule's query found none. They
//! are limited to the namespace of the request by the code that limits rules' queries, and only numbers are read from
//! their answers.

use std::time::{Duration, Instant, SystemTime};

use rules::catalog::Origin;
use selector::labels::Selector;

use super::Answerer;
use super::record::Notes;
use crate::explanation::{MOST_LISTED, Reason};
use crate::source::guard::Flow;
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
        let Some(of_hour) = self.count(vain, &everything, Some(LONG), notes).await else { return };
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
            let Some(selected) = self.count(vain, vain.selector, Some(LONG), notes).await else { return };
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
        let Some(current) = self.count(vain, vain.selector, None, notes).await else { return };
        let rule = vain.origin.rule();
        let too_short = match vain.origin.window() {
            None => None,
            Some(window) => {
                let Some(within) = self.count(vain, vain.selector, Some(window), notes).await else { return };
                within.most.is_none_or(|most| most < 2.0).then_some((window, within.most.unwrap_or(0.0)))
            }
        };
        match (current.most, too_short) {
            (Some(_), Some((window, most))) => notes.cause(Reason::RangeTooShort, || {
                format!("the range of the query of {rule}, {window:?}, holds {most} samples of {series}, and a rate needs 2: it is shorter than two scrapes")
            }),
            (None, Some(_)) => notes.ended(series, &place),
            (None, None) if vain.origin.window().is_none() => notes.ended(series, &place),
            _ => {}
        }
        notes.cause(Reason::NoSamples, || {
            format!("the query of {} finds no sample, though {series} has recent ones{place}: its own matchers or its arithmetic leave none", vain.origin.rule())
        });
    }

    /// Whether the pods are among what is scraped: every target has a series `up`, with the labels that a Prometheus
    /// Operator gives it.
    pub(super) async fn look_at_targets(&self, namespace: &str, deadline: Instant, notes: &mut Notes) {
        if !selector::names::is_dns_label(namespace) {
            return;
        }
        let promql = format!("up{{namespace=\"{namespace}\"}}");
        let deadline = deadline.min(Instant::now() + LONGEST);
        let answer = self.source.ask(Flow::Namespace(namespace), &promql, SystemTime::now(), deadline).await;
        let Ok(Samples::Vector(targets)) = answer.map(|answer| answer.value) else {
            notes.further("the metric source did not say which targets it scrapes".to_owned());
            return;
        };
        let is_down = |target: &&Sample| target.value == 0.0;
        let (all, down) = (targets.len(), targets.iter().filter(is_down).count());
        notes.further(match (all, down) {
            (0, _) => format!(
                "no target of the namespace {namespace} is scraped: with the Prometheus Operator, serviceMonitorSelector must \
                 match the labels of the ServiceMonitor"
            ),
            (all, 0) => format!("{all} targets of the namespace {namespace} are scraped, and answer"),
            (all, down) => format!("{all} targets of the namespace {namespace} are scraped, of which {down} do not answer"),
        });
        let pods = notes.explanation.objects.as_ref().filter(|objects| objects.by.starts_with("pods"));
        let names = pods.map(|pods| pods.names.clone()).unwrap_or_default();
        for name in names.iter().take(PODS_SHOWN).filter(|_| all > 0) {
            let of_pod = targets.iter().find(|target| target.label("pod") == Some(name));
            match of_pod {
                None => notes.further(format!("the pod {name} is not among the targets")),
                Some(target) if target.value == 0.0 => {
                    notes.further(format!("the pod {name} is among the targets, and does not answer"));
                }
                Some(_) => notes.further(format!("the pod {name} is among the targets")),
            }
        }
    }

    /// Samples within a range, or at this instant; `None` when they cannot be counted, which is noted.
    async fn count(
        &self,
        vain: &Vain<'_>,
        selector: &Selector,
        range: Option<Duration>,
        notes: &mut Notes,
    ) -> Option<Counted> {
        let by = vain.objects.map(|(label, _)| label);
        let promql = vain.origin.samples_within(range, (vain.namespace, selector), by).ok()?;
        let deadline = vain.deadline.min(Instant::now() + LONGEST);
        let flow = Flow::Namespace(vain.namespace.unwrap_or_default());
        let answer = self.source.ask(flow, &promql, vain.now, deadline).await;
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
    /// The series had samples, and has none now.
    fn ended(&mut self, series: &str, place: &str) {
        self.cause(Reason::StaleSamples, || {
            format!(
                "{series} has no current sample{place}, and had some within an hour: its target is gone, does not answer, or no longer exports it"
            )
        });
    }

    fn further(&mut self, what: String) {
        if self.explanation.further.len() < MOST_LISTED {
            self.explanation.further.push(what);
        }
    }
}

/// How far back samples are looked for.
const LONG: Duration = Duration::from_hours(1);
/// Pods whose targets are looked for.
const PODS_SHOWN: usize = 5;
/// The most time for one of these questions.
const LONGEST: Duration = Duration::from_secs(5);
