//! What a comparison of two servers found.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comparison::Difference;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::question::Question;
use crate::config::Output;

/// What differs, and by which numbers.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// This adapter.
    here: String,
    /// The server that it is compared with.
    there: String,
    /// How many questions were asked.
    pub(super) questions: usize,
    /// Questions whose answers are equal.
    equal: usize,
    /// Questions whose answers have values within the tolerance, and are equal otherwise.
    within_tolerance: usize,
    /// Questions whose answers differ without a known reason.
    pub(super) unexplained: usize,
    /// By number.
    deviations: BTreeMap<&'static str, Deviation>,
    /// The first of the questions whose answers differ without a known reason.
    pub(super) differences: Vec<Unexplained>,
    /// What was not asked for want of room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left_out: Option<LeftOut>,
    /// What else was not asked, and why.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Deviation {
    /// What the number says, in short.
    title: &'static str,
    /// Questions whose answers differ by it.
    answers: usize,
    /// One of them.
    example: String,
}

/// A question whose answers differ without a known reason.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unexplained {
    question: String,
    differences: Vec<Difference>,
    /// How many more differences there are.
    more: usize,
    /// What this adapter says of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<String>,
}

/// Questions beyond the bound.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeftOut {
    pub(super) questions: usize,
    pub(super) most: usize,
    /// The first of them.
    pub(super) first: String,
}

impl Unexplained {
    pub(super) fn new(question: &Question, mut differences: Vec<Difference>) -> Unexplained {
        let more = differences.len().saturating_sub(MOST_OF_ANSWER);
        differences.truncate(MOST_OF_ANSWER);
        Unexplained { question: shown(&question.path), differences, more, cause: None }
    }
}

impl Report {
    pub(super) fn new(here: &str, there: &str) -> Report {
        Report { here: here.to_owned(), there: there.to_owned(), ..Report::default() }
    }

    /// Counts a question whose answers are equal, or differ by what is known.
    pub(super) fn explained(&mut self, question: &Question, by: &[&'static str], within: bool) {
        if within {
            self.within_tolerance += 1;
        } else if by.is_empty() {
            self.equal += 1;
        }
        for &number in by {
            let title = comparison::title(number).unwrap_or_default();
            let deviation = self.deviations.entry(number).or_insert_with(|| Deviation {
                title,
                answers: 0,
                example: shown(&question.path),
            });
            deviation.answers += 1;
        }
    }

    pub(super) fn differs(&self) -> bool {
        self.unexplained > 0
    }

    pub(super) fn written(&self, output: Output) -> Result<String, serde_json::Error> {
        match output {
            Output::Text => Ok(self.text()),
            Output::Json => Ok(format!("{}\n", serde_json::to_string_pretty(self)?)),
        }
    }

    fn text(&self) -> String {
        let Report { here, there, questions, equal, within_tolerance, unexplained, .. } = self;
        let by_number = questions.saturating_sub(equal + within_tolerance + unexplained);
        let mut text = format!(
            "here   {here}\nthere  {there}\n\n{questions} questions: {equal} answers equal, {by_number} differ by known \
             deviations, {within_tolerance} by values within the tolerance, {unexplained} unexplained\n"
        );
        // Writing to memory does not fail.
        if !self.deviations.is_empty() {
            text.push_str("\nKnown deviations, see docs/contract.md:\n");
        }
        let mut deviations: Vec<_> = self.deviations.iter().collect();
        deviations.sort_by_key(|(number, _)| number[1..].parse::<u32>().unwrap_or_default());
        for (number, Deviation { title, answers, example }) in deviations {
            let _ = writeln!(
                text,
                "{number:4} {answers:6} answers  {title}\n                     such as {example}"
            );
        }
        if !self.differences.is_empty() {
            text.push_str("\nUnexplained:\n");
        }
        for Unexplained { question, differences, more, cause } in &self.differences {
            let _ = writeln!(text, "GET {question}");
            for Difference { at, expected, found, .. } in differences {
                let text_of = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
                let (there, here) = (text_of(expected), text_of(found));
                let _ = writeln!(text, "  {at}\n    there  {there}\n    here   {here}");
            }
            if *more > 0 {
                let _ = writeln!(text, "  and {more} more");
            }
            if let Some(cause) = cause {
                let _ = writeln!(text, "  explain here: {cause}");
            }
        }
        let more = unexplained.saturating_sub(self.differences.len());
        if more > 0 {
            let _ = writeln!(text, "and {more} more questions");
        }
        if self.left_out.is_some() || !self.notes.is_empty() {
            text.push('\n');
        }
        if let Some(LeftOut { questions, most, first }) = &self.left_out {
            let _ = writeln!(
                text,
                "left out: {questions} questions beyond --max-questions={most}, from {} on",
                shown(first)
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        text
    }
}

/// A path as people write it.
fn shown(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// Differences of one answer that are shown.
const MOST_OF_ANSWER: usize = 20;
