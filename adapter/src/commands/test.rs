//! `adapter test FILE...`: asks rules for metrics of written-down series, and compares queries and values with what is
//! expected. Requests take the server's own way: path, rule, objects, query, samples, values.

mod answered;
mod file;
mod run;
mod world;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::exit_status::UNUSABLE;
use super::runtime::block_on;
use file::TestFile;

/// Runs each file and says what failed.
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    block_on(all(files)).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

async fn all(files: &[PathBuf]) -> ExitCode {
    let (mut unusable, mut failed) = (false, false);
    for path in files {
        println!("Unit Testing:  {}", path.display());
        let outcome = match TestFile::read(path) {
            Ok(file) => run::file(&file).await,
            Err(error) => Err(error),
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
