//! What the program does for each command.

mod check;
mod exit_status;
mod serve;

use std::io::Write as _;
use std::process::ExitCode;

use crate::config::{Command, Config};
use crate::logging;

/// Runs the command; the exit status says how it ended.
pub fn run(config: Config) -> ExitCode {
    let Config { command, logging, notices } = config;
    logging::start(logging.format, logging.verbosity);
    for notice in notices {
        tracing::warn!("{notice}");
    }
    match command {
        Command::Serve(config) => serve::run(*config),
        Command::Check(files) => check::run(&files),
        Command::Print(text) => print(&text),
    }
}

/// A reader that goes early, as `head` does, is a failure without a message.
fn print(text: &str) -> ExitCode {
    std::io::stdout().write_all(text.as_bytes()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
