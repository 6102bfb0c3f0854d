//! What commands print.

use std::io::Write as _;
use std::process::ExitCode;

/// Prints a text. A reader that goes early, as `head` does, is a failure without a message.
pub(super) fn print(text: &str) -> ExitCode {
    std::io::stdout().write_all(text.as_bytes()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
