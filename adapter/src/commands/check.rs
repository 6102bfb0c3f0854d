//! `adapter check FILE...`: loads rule files by the server's own code and says what is wrong with them.

use std::path::PathBuf;
use std::process::ExitCode;

use super::UNUSABLE;
use crate::rules_file::RulesFile;

/// Prints a line for each file that is good, and every fault of each that is not.
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let mut broken = false;
    for file in files {
        match RulesFile::open(file, true) {
            Ok((_, rules)) => {
                for warning in &rules.warnings {
                    println!("{}: warning: {warning}", file.display());
                }
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
                eprintln!("{error}");
            }
        }
    }
    if broken { ExitCode::from(UNUSABLE) } else { ExitCode::SUCCESS }
}
