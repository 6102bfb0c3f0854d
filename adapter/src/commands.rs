//! What the program does for each command.

mod asked;
mod check;
mod client;
mod diff;
mod exit_status;
mod explain;
mod listed;
mod output;
mod rbac;
mod runtime;
mod serve;
mod test;

use std::process::ExitCode;

use crate::config::{Command, Config};
use crate::logging;

/// Runs the command; the exit status says how it ended.
pub fn run(config: Config) -> ExitCode {
    let Config { command, logging, notices } = config;
    logging::start(logging.format, logging.verbosity, matches!(command, Command::Serve(_)));
    for notice in notices {
        tracing::warn!("{notice}");
    }
    match command {
        Command::Serve(config) => serve::run(*config),
        Command::Check(config) => check::run(&config),
        Command::Explain(explain) => explain::run(&explain),
        Command::Diff(config) => diff::run(&config),
        Command::Test(tests) => test::run(&tests),
        Command::Rbac(files) => rbac::run(&files),
        Command::Print(text) => output::print(&text),
    }
}
