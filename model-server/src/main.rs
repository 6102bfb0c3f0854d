//! The model server's program.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use model_server::app::{self, AppError, Ended};
use model_server::args::{self, Command, CommandLine};
use model_server::config::{Config, LogFormat};
use model_server::contain;
use model_server::exit::{BAD_MODEL, leave};
use model_server::lines::Lines;
use serve::error_chain;

fn main() -> ExitCode {
    let CommandLine { command, flags } = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Nothing can be done about a terminal that is gone.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(BAD_USAGE) };
        }
    };
    let (checking, flags) = match command {
        Some(Command::Check(flags)) => (true, *flags),
        Some(Command::Completion { shell }) => {
            return print(&manual::completion(CommandLine::command(), shell));
        }
        Some(Command::Flags) => return print(&args::markdown()),
        Some(Command::Man { command }) => {
            return match manual::page(CommandLine::command(), command.as_deref()) {
                Ok(page) => print(&page),
                Err(unknown) => {
                    eprintln!("model-server: {unknown}");
                    ExitCode::from(BAD_USAGE)
                }
            };
        }
        None => (false, flags),
    };
    let config = match Config::parse(flags) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("model-server: the flags cannot be used:\n{faults}");
            return ExitCode::from(BAD_USAGE);
        }
    };
    log(config.log_format);
    let outcome = if checking {
        app::check(&config).map(|text| {
            println!("{text}");
            Ended::Whole
        })
    } else {
        serve(config)
    };
    match outcome {
        Ok(Ended::Whole) => ExitCode::SUCCESS,
        Ok(Ended::Computing) => leave(0),
        Err(error) => {
            tracing::error!(error = %error_chain(&error), "exiting");
            // A model that cannot be used is a configuration that cannot be used.
            if error.is_of_the_model() { ExitCode::from(BAD_MODEL) } else { ExitCode::FAILURE }
        }
    }
}

/// A reader that goes early, as `head` does, is a failure without a message.
fn print(text: &str) -> ExitCode {
    std::io::stdout().write_all(text.as_bytes()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn serve(config: Config) -> Result<Ended, AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| AppError::Start { part: "the runtime", cause })?;
    let outcome = runtime.block_on(app::run(config));
    runtime.shutdown_timeout(app::RUNTIME_GRACE);
    outcome
}

fn log(format: LogFormat) {
    let lines = tracing_subscriber::fmt().with_writer(|| Lines(std::io::stderr())).with_ansi(false);
    let lines = lines.with_max_level(tracing::Level::INFO);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    // A panic is a line of the log like any other, unless somebody else tells it.
    std::panic::set_hook(Box::new(|panic| {
        if contain::noted(panic) {
            return;
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, text, "panicked");
    }));
}

const BAD_USAGE: u8 = 64;
