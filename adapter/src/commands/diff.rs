//! `adapter diff`: asks this adapter and another server the same questions, and says what differs, and by which number
//! of `docs/contract.md`.

mod ask;
mod evidence;
mod question;
mod questions;
mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serve::error_chain;

use self::ask::{DiffError, Judged, Pair};
use self::report::{Report, Unexplained};
use super::exit_status::CANNOT_ASK;
use super::output::print;
use super::runtime::block_on;
use crate::config::Diff;

/// Prints the report; the exit status says whether anything differs that no number explains.
pub(super) fn run(config: &Diff) -> ExitCode {
    let report = block_on(compared(config)).map_err(|error| error_chain(&error));
    let printed = report.and_then(|report| {
        let report = report.map_err(|error| error_chain(&error))?;
        Ok((report.written(config.output).map_err(|error| error_chain(&error))?, report.differs()))
    });
    match printed {
        Ok((text, differs)) => match print(&text) {
            ExitCode::SUCCESS if differs => ExitCode::from(DIFFERS),
            printed => printed,
        },
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(CANNOT_ASK)
        }
    }
}

async fn compared(config: &Diff) -> Result<Report, DiffError> {
    let pair = Pair::new(config).await?;
    let (questions, mut report) = questions::all(&pair, config).await?;
    report.questions = questions.len();
    let mut pending = questions;
    let mut differences = Vec::new();
    for round in 0..=REPEATS {
        if pending.is_empty() {
            break;
        }
        if round > 0 {
            eprintln!("{} of the answers differ: asking again in {:?}", pending.len(), config.pause);
            tokio::time::sleep(config.pause).await;
        }
        let mut progress = Progress::new(pending.len());
        let asked = std::mem::take(&mut pending);
        differences.clear();
        for question in asked {
            let exchange = pair.ask(&question).await?;
            match ask::judged(&exchange, config.tolerance) {
                Judged::Explained { by, within } => report.explained(&question, &by, within),
                Judged::Differs(found) => {
                    // The last round counts.
                    if differences.len() < MOST_SHOWN && round == REPEATS {
                        differences.push(Unexplained::new(&question, found));
                    }
                    pending.push(question);
                }
            }
            progress.next(pending.len());
        }
    }
    report.unexplained = pending.len();
    for (question, mut difference) in pending.iter().zip(differences) {
        // The rule of ours may say why.
        match evidence::of(&pair, question).await {
            evidence::Evidence::Number(number) => {
                report.unexplained -= 1;
                report.explained(question, &[number], false);
            }
            evidence::Evidence::Cause(cause) => {
                difference.cause = Some(cause);
                report.differences.push(difference);
            }
            evidence::Evidence::None => report.differences.push(difference),
        }
    }
    Ok(report)
}

/// Tells a person who waits how far it is.
struct Progress {
    all: usize,
    asked: usize,
    said: Instant,
}

impl Progress {
    fn new(all: usize) -> Progress {
        Progress { all, asked: 0, said: Instant::now() }
    }

    fn next(&mut self, differing: usize) {
        self.asked += 1;
        if self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            eprintln!("{} of {} questions asked, {differing} answers differ so far", self.asked, self.all);
        }
    }
}

/// A difference that no number explains.
const DIFFERS: u8 = 1;
/// Times that a question is asked again while its answers differ.
const REPEATS: usize = 2;
/// Differing answers that are kept with all that differs.
const MOST_SHOWN: usize = 200;
const EVERY: Duration = Duration::from_secs(5);
