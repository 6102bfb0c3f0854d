//! The command line of the soak.

use std::time::Duration;

use clap::Parser;

/// Puts the adapter under steady load while everything around it changes, and judges what became of it.
///
/// Writes target/reports/soak.json. The exit status is 0 if all was well.
#[derive(Debug, Parser)]
#[command(name = "soak", verbatim_doc_comment)]
pub(crate) struct Settings {
    /// How long.
    #[arg(long = "minutes", value_name = "MINUTES", default_value = "60", value_parser = minutes)]
    pub(crate) length: Duration,
    /// Requests a second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number of minutes".to_owned())?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())
}
