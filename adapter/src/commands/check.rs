//! `adapter check FILE...`: loads rule files by the server's own code and says what is wrong with them.

use std::path::PathBuf;
use std::process::ExitCode;

use serve::error_chain;

use super::exit_status::UNUSABLE;
use crate::rules_file::RulesFile;

/// Prints a line for each valid file, with what it hardly means, and every fault of each that is not valid.
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let (mut broken, mut useless) = (false, false);
    for file in files {
        match RulesFile::open(file, true) {
            Ok((_, rules)) => {
                for warning in &rules.warnings {
                    let kind = if warning.never_answers { "error" } else { "warning" };
                    println!("{}: {kind}: {warning}", file.display());
                }
                useless |= rules.warnings.iter().any(|warning| warning.never_answers);
                println!(
                    "{}: {} custom and {} external rules, resource rules: {}",
                    file.display(),
                    rules.custom.len(),
                    rules.external.len(),
                    if rules.resource.is_some() { "yes" } else { "no" },
                );
            }
            Err(error) => {
                broken = true;
                eprintln!("{}", error_chain(&error));
            }
        }
    }
    match (broken, useless) {
        (true, _) => ExitCode::from(UNUSABLE),
        (false, true) => ExitCode::from(NEVER_ANSWERS),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// A file that the server takes, with a rule that never answers.
const NEVER_ANSWERS: u8 = 1;
