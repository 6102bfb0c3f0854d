//! `adapter test FILE...`: asks rules for metrics of written-down series, and compares queries and values with what is
//! expected. Requests take the server's own way: path, rule, objects, query, samples, values.

mod answered;
mod file;
mod prometheus;
mod run;
mod world;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::exit_status::UNUSABLE;
use super::runtime::block_on;
use crate::config::RuleTests;
use ::serve::error_chain;
use file::TestFile;

/// Runs each file and says what failed.
pub(super) fn run(tests: &RuleTests) -> ExitCode {
    block_on(all(tests)).unwrap_or_else(|error| {
        eprintln!("{}", error_chain(&error));
        ExitCode::FAILURE
    })
}

async fn all(tests: &RuleTests) -> ExitCode {
    let RuleTests { files, prometheus } = tests;
    let program: Option<&Path> = prometheus.as_deref();
    let (mut unusable, mut failed) = (false, false);
    for path in files {
        println!("Unit Testing:  {}", path.display());
        let outcome = match TestFile::read(path) {
            Ok(file) => run::file(&file, program).await.map_err(|error| error_chain(&error)),
            Err(error) => Err(error_chain(&error)),
        };
        match outcome {
            Ok(failures) if failures.is_empty() => println!("  SUCCESS"),
            Ok(failures) => {
                failed = true;
                println!("  FAILED:\n{}", indented(&failures.join("\n\n")));
            }
            Err(error) => {
                unusable = true;
                println!("  FAILED:\n{}", indented(&error));
            }
        }
        println!();
    }
    match (unusable, failed) {
        (true, _) => ExitCode::from(UNUSABLE),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    }
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        // Writing to memory does not fail.
        let _ = writeln!(all, "{}{line}", if line.is_empty() { "" } else { "    " });
        all
    })
}
