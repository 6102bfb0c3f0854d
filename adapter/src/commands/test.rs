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
use file::TestFile;

/// Runs each file and says what failed.
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut unusable, mut failed) = (false, false);
    for path in files {
        println!("Unit Testing:  {}", path.display());
        let outcome = TestFile::read(path).and_then(|file| runtime.block_on(run::file(&file)));
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
