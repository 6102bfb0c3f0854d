//! The model server's program.

use std::process::ExitCode;

use clap::Parser as _;
use model_server::app::{self, AppError};
use model_server::args::{Args, LogFormat};

fn main() -> ExitCode {
    let args = Args::parse();
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    let lines = lines.with_max_level(tracing::Level::INFO);
    match args.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime can be started");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(app::run(args));
    runtime.shutdown_timeout(app::RUNTIME_GRACE);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "ended");
            // A model that cannot be used is a configuration that cannot be used.
            if matches!(error, AppError::Model(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
