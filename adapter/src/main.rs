//! The adapter's program. What the flags mean is in [`adapter::args`], what happens then in [`adapter::commands`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match adapter::args::parse(std::env::args_os().skip(1)) {
        Ok(config) => adapter::commands::run(config),
        Err(error) => {
            // `--help` and `--version` are answers, not errors.
            if error.exit_code() == 0 {
                print!("{error}");
            } else {
                eprint!("{error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
