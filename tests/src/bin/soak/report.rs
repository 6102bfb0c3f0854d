//! What was sampled, and whether it is good.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::process::Process;
use e2e::{Failure, median, stack};
use serde_json::{Value, json};

use crate::events::Step;
use crate::settings::Settings;
use crate::traffic::Answers;

/// Gathers samples and events.
pub(crate) struct Report {
    length: Duration,
    rate: u32,
    samples: Vec<Sample>,
    events: Vec<Value>,
    unseen: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    resident_bytes: u64,
    open_files: usize,
    answered: u64,
}

impl Report {
    pub(crate) fn new(settings: &Settings) -> Report {
        Report {
            length: settings.length,
            rate: settings.rate,
            samples: Vec::new(),
            events: Vec::new(),
            unseen: 0,
        }
    }

    /// Looks at the program.
    pub(crate) fn sample(&mut self, at: Duration, adapter: &Process, answered: u64) -> Result<(), Failure> {
        let gone = || format!("the adapter ended:\n{}", adapter.tail());
        let sample = Sample {
            at,
            resident_bytes: adapter.resident_bytes().ok_or_else(gone)?,
            open_files: adapter.open_files().ok_or_else(gone)?,
            answered,
        };
        self.samples.push(sample);
        Ok(())
    }

    /// An event, and whether it was seen.
    pub(crate) fn event(&mut self, at: Duration, step: Step, took: Duration, seen: Result<(), Failure>) {
        let error = seen.err().map(|error| error.to_string());
        println!(
            "{:>5} s  {}: {}",
            at.as_secs(),
            step.name(),
            error.clone().unwrap_or_else(|| format!("seen after {took:.1?}"))
        );
        self.unseen += usize::from(error.is_some());
        self.events.push(json!({
            "at_seconds": at.as_secs(),
            "what": step.name(),
            "took_seconds": took.as_secs_f64(),
            "error": error,
        }));
    }

    /// Judges, prints and writes; whether all was well.
    pub(crate) fn finish(self, answers: &Answers, adapter: &Process) -> Result<bool, Failure> {
        let warm: Vec<Sample> = {
            let warm_up = WARM_UP.min(self.length / 3);
            self.samples.iter().copied().filter(|sample| sample.at >= warm_up).collect()
        };
        let (first, last) = halves(&warm).ok_or("too short: no samples after the warm-up")?;
        let slope = bytes_per_hour(&warm);
        let resident =
            |samples: &[Sample]| median(samples.iter().map(|sample| sample.resident_bytes as f64)) as u64;
        let files = |samples: &[Sample]| median(samples.iter().map(|sample| sample.open_files as f64)) as u64;
        let (resident_before, resident_after) = (resident(first), resident(last));
        let (files_before, files_after) = (files(first), files(last));
        let answered: u64 = answers.values().map(|count| count.answers).sum();
        let wrong: u64 = answers.values().map(|count| count.wrong).sum();
        let panics = adapter.log().matches("panicked").count();
        let verdict: Vec<(&str, bool)> = vec![
            ("memory stays", resident_after as f64 <= resident_before as f64 * (1.0 + GROWTH)),
            ("open files stay", files_after <= files_before + FILES),
            ("every answer as expected", wrong == 0),
            ("no panic", panics == 0),
            ("every event seen", self.unseen == 0 && !self.events.is_empty()),
        ];

        println!(
            "\n{answered} answers, {wrong} of them wrong; {} events, {} unseen; {panics} panics",
            self.events.len(),
            self.unseen
        );
        println!(
            "resident memory: {} → {} MiB in the two halves after the warm-up, {:+.2} MiB an hour",
            mib(resident_before),
            mib(resident_after),
            slope / MIB
        );
        println!("open files: {files_before} → {files_after}");
        let mut by_question: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for ((question, away, became), count) in answers {
            if count.wrong > 0 {
                println!("WRONG: {question}: {became}, {} times", count.wrong);
            }
            by_question.entry(question).or_default().push(json!({
                "away": away, "answer": became, "count": count.answers, "wrong": count.wrong,
            }));
        }
        for (what, good) in &verdict {
            println!("{}: {what}", if *good { "yes" } else { "NO" });
        }
        let samples: Vec<Value> = self
            .samples
            .iter()
            .map(|sample| {
                json!({
                    "seconds": sample.at.as_secs(),
                    "resident_bytes": sample.resident_bytes,
                    "open_files": sample.open_files,
                    "answered": sample.answered,
                })
            })
            .collect();
        stack::write_report(
            "soak",
            &json!({
                "minutes": self.length.as_secs_f64() / 60.0,
                "requests_per_second": self.rate,
                "answers": answered,
                "wrong_answers": wrong,
                "answers_by_question": by_question,
                "events": self.events,
                "panics": panics,
                "resident_bytes": {"first_half": resident_before, "second_half": resident_after, "slope_per_hour": slope,
                                   "peak": adapter.peak_resident_bytes()},
                "open_files": {"first_half": files_before, "second_half": files_after},
                "samples": samples,
                "verdict": verdict.iter().map(|(what, good)| ((*what).to_owned(), json!(good))).collect::<serde_json::Map<_, _>>(),
            }),
        )?;
        Ok(verdict.iter().all(|(_, good)| *good))
    }
}

/// The halves of what was sampled after the warm-up.
fn halves(samples: &[Sample]) -> Option<(&[Sample], &[Sample])> {
    let (first, last) = samples.split_at(samples.len() / 2);
    (!first.is_empty() && !last.is_empty()).then_some((first, last))
}

/// The line that fits resident memory best.
fn bytes_per_hour(samples: &[Sample]) -> f64 {
    let points: Vec<(f64, f64)> = samples
        .iter()
        .map(|sample| (sample.at.as_secs_f64() / 3600.0, sample.resident_bytes as f64))
        .collect();
    let count = points.len() as f64;
    let (x_mean, y_mean) =
        points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let covariance: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / MIB)
}

const MIB: f64 = 1_048_576.0;
/// Caches fill and the allocator keeps what it got, for a while.
const WARM_UP: Duration = Duration::from_mins(10);
/// From one half to the other, as a share.
const GROWTH: f64 = 0.05;
/// From one half to the other: an idle connection more or less is not a leak.
const FILES: u64 = 8;
