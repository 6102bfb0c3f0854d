//! Runs behaviour tests in the notation of Prometheus' promqltest: the files of `tests/promql`, and of every folder
//! named in the environment variable `PROMQLTEST_DIRS`, separated by colons. Anybody can point it at Prometheus' own
//! files.
//!
//! Each file ends with how many evaluations passed, failed and were refused. Refused is what the engine says it does
//! not support; that fails our own files, which the same engine must pass, and is only counted for others.

#[path = "promqltest/file.rs"]
mod file;
#[path = "promqltest/run.rs"]
mod run;

use std::path::{Path, PathBuf};

#[test]
fn our_files_pass() {
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql"));
    assert!(!files.is_empty());
    let outcomes: Vec<run::Outcome> = files.iter().map(|file| run::file(file)).collect();
    let problems: Vec<&str> = outcomes
        .iter()
        .flat_map(|outcome| outcome.failed.iter().chain(&outcome.refused))
        .map(String::as_str)
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let passed: usize = outcomes.iter().map(|outcome| outcome.passed).sum();
    assert!(passed > 150, "only {passed} evaluations");
}

#[test]
fn files_of_further_folders_pass() {
    let Some(folders) = std::env::var_os("PROMQLTEST_DIRS") else {
        println!("PROMQLTEST_DIRS is not set: no further folders were run");
        return;
    };
    let files: Vec<PathBuf> = std::env::split_paths(&folders).flat_map(|folder| files(&folder)).collect();
    assert!(!files.is_empty(), "no .test file in {}", folders.display());
    let outcomes: Vec<run::Outcome> = files.iter().map(|file| run::file(file)).collect();
    let failed: Vec<&str> = outcomes.iter().flat_map(|outcome| &outcome.failed).map(String::as_str).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    files
}
