//! How the program logs: one line an event, on standard error, as text or as JSON.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `verbosity` is klog's `--v`: 3 and more show a line for each request, 4 and more what the program does, 6
/// and more everything.
pub fn start(format: Format, verbosity: i32) {
    let registry = tracing_subscriber::registry().with(filter(verbosity));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A test or an embedding program may have set a subscriber already; then that one stays.
    let _ = match format {
        Format::Text => registry.with(lines.with_ansi(false)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// Other people's crates log what they do at levels that are useful only to them, and what they were given with it: they
/// only warn, however much is asked for.
fn filter(verbosity: i32) -> Targets {
    let level = match verbosity {
        ..=3 => LevelFilter::INFO,
        4..=5 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let requests = if verbosity >= 3 { LevelFilter::INFO } else { LevelFilter::OFF };
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OURS.map(|target| (target, level)))
        .with_target(REQUESTS, requests)
}

/// Under which the server logs each request.
const REQUESTS: &str = "apiservice::requests";
const OURS: [&str; 4] = ["adapter", "apiservice", "engine", "rules"];

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels() {
        for (verbosity, requests, ours, debug, trace) in [
            (-1, false, true, false, false),
            (0, false, true, false, false),
            (2, false, true, false, false),
            (3, true, true, false, false),
            (4, true, true, true, false),
            (6, true, true, true, true),
            (10, true, true, true, true),
        ] {
            let filter = filter(verbosity);
            assert_eq!(filter.would_enable(REQUESTS, &Level::INFO), requests, "{verbosity}");
            assert_eq!(filter.would_enable("adapter::app", &Level::INFO), ours, "{verbosity}");
            assert_eq!(filter.would_enable("apiservice::accept", &Level::DEBUG), debug, "{verbosity}");
            assert_eq!(filter.would_enable("engine", &Level::TRACE), trace, "{verbosity}");
            assert!(!filter.would_enable("reqwest::connect", &Level::DEBUG), "{verbosity}");
            assert!(!filter.would_enable("h2::codec", &Level::INFO), "{verbosity}");
        }
    }
}
