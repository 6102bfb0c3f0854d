//! How the program logs: one line an event, on standard error, as text or as JSON.

use std::io::{self, Write};

use serve::printable::printable;
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

/// Starts logging. `verbosity` is klog's `--v`: 3 and more show a line for each request, 4 and more what the program
/// does, 6 and more everything. A command that does not serve prints itself what Kubernetes answers it.
pub fn start(format: Format, verbosity: i32, serves: bool) {
    let client = if serves { LevelFilter::WARN } else { LevelFilter::OFF };
    let filter = filter(verbosity).with_target(KUBERNETES_CLIENT, client);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Lines(io::stderr()));
    // A test or an embedding program may have set a subscriber already; then that one stays.
    let _ = match format {
        Format::Text => registry.with(lines.with_ansi(false)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// Writes events, each of which arrives as one line. What others say may be in any field of it: nothing in it ends the
/// line or commands a terminal.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        let mut safe = printable(&text).into_owned();
        safe.push('\n');
        self.0.write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Other people's crates log what they do at levels that are useful only to them, and what they were given with it:
/// they only warn, however much is asked for.
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
/// Under which the Kubernetes client logs every answer that is an error.
const KUBERNETES_CLIENT: &str = "kube_client::client";
const OURS: [&str; 5] = ["adapter", "apiservice", "engine", "rules", "serve"];

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use testkit::rows::each_row;
    use tracing::Level;

    use super::*;

    #[test]
    fn a_verbosity_enables_its_levels() {
        let rows = [
            (-1, false, true, false, false),
            (0, false, true, false, false),
            (2, false, true, false, false),
            (3, true, true, false, false),
            (4, true, true, true, false),
            (6, true, true, true, true),
            (10, true, true, true, true),
        ];
        each_row(rows, |(verbosity, requests, ours, debug, trace)| {
            let filter = filter(verbosity);
            assert_eq!(filter.would_enable(REQUESTS, &Level::INFO), requests, "{verbosity}");
            assert_eq!(filter.would_enable("adapter::app", &Level::INFO), ours, "{verbosity}");
            assert_eq!(filter.would_enable("apiservice::accept", &Level::DEBUG), debug, "{verbosity}");
            assert_eq!(filter.would_enable("engine", &Level::TRACE), trace, "{verbosity}");
            assert!(!filter.would_enable("reqwest::connect", &Level::DEBUG), "{verbosity}");
            assert!(!filter.would_enable("h2::codec", &Level::INFO), "{verbosity}");
        });
    }

    /// The line that is written for an event whose message, error and field hold commands.
    fn written(format: Format) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let lines = tracing_subscriber::fmt::layer().with_writer(move || Lines(Sink(Arc::clone(&sink))));
        let registry = tracing_subscriber::registry();
        let log = || {
            let error = "boom\nFORGED INFO all is well\u{1b}[31m\u{9b}2J";
            tracing::warn!(%error, value = %"a\rb", "said {}", "\u{1b}]0;title\u{7}\n");
        };
        match format {
            Format::Text => tracing::subscriber::with_default(registry.with(lines.with_ansi(false)), log),
            Format::Json => tracing::subscriber::with_default(registry.with(lines.json()), log),
        }
        String::from_utf8(written.lock().expect("no writer panics").clone()).expect("text")
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panics").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_without_commands_whatever_others_say() {
        each_row([Format::Text, Format::Json], |format| {
            let written = written(format);
            let line = written.strip_suffix('\n').expect("a line");
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(line.contains("boom") && line.contains("title"), "{line}");
            if format == Format::Json {
                let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
                assert_eq!(event["fields"]["error"], "boom\nFORGED INFO all is well\u{1b}[31m\u{9b}2J");
            }
        });
    }
}
