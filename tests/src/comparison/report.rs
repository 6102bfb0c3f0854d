//! How many answers were equal, how many differ by which number, and which differ without a reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comparison::{Exchange, Verdict};
use serde_json::{Value, json};

use crate::{Failure, stack};

/// Counts of a comparison, written to `target/reports/NAME.json`.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    requests: usize,
    equal: usize,
    deviations: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(name: &'static str) -> Report {
        Report { name, requests: 0, equal: 0, deviations: BTreeMap::new(), unexplained: Vec::new() }
    }

    /// Compares the answers to one request and counts what came of it.
    pub fn add(&mut self, exchange: &Exchange) {
        self.requests += 1;
        match comparison::verdict(exchange) {
            Verdict::Equal => self.equal += 1,
            Verdict::Deviates(numbers) => {
                for number in numbers {
                    *self.deviations.entry(number).or_default() += 1;
                }
            }
            Verdict::Unexplained { expected, found, .. } => {
                self.unexplained.push(format!("{exchange}  expected {expected}\n  found    {found}\n"));
            }
        }
    }

    /// How many requests were compared.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Prints the counts and writes them, with whatever else there is to say, to the report.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, more: &Value) -> Result<(), Failure> {
        let Report { name, requests, equal, deviations, unexplained } = self;
        println!("{name}: requests {requests}, equal {equal}, unexplained {}", unexplained.len());
        let numbers: Vec<String> =
            deviations.iter().map(|(number, count)| format!("{number} {count}")).collect();
        println!("deviations: {}", numbers.join(", "));
        let mut report = json!({
            "requests": requests,
            "equal": equal,
            "deviations": deviations,
            "unexplained": unexplained.len(),
        });
        if let (Some(report), Some(more)) = (report.as_object_mut(), more.as_object()) {
            report.extend(more.clone());
        }
        stack::write_report(name, &report)?;
        let dir = stack::repository().join("target/reports");
        Ok(std::fs::write(dir.join(self.unexplained_file()), unexplained.join("\n"))?)
    }

    /// Fails where something differs without a reason; shows the first of it.
    ///
    /// # Errors
    /// Something differs.
    pub fn judge(&self) -> Result<(), Failure> {
        if self.unexplained.is_empty() {
            return Ok(());
        }
        let (all, file) = (self.unexplained.len(), self.unexplained_file());
        let mut text = format!("{all} unexplained differences, all of them in target/reports/{file}\n");
        for difference in self.unexplained.iter().take(SHOWN) {
            let _ = writeln!(text, "{difference}");
        }
        Err(text.into())
    }

    fn unexplained_file(&self) -> String {
        format!("{}-unexplained.txt", self.name)
    }
}

/// The number of differences that are shown.
const SHOWN: usize = 10;
