//! The command line; each flag can be given as an environment variable too.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Serves a model over HTTP and exports metrics that an autoscaler can trust: a queue depth that counts every admitted
/// request, and a latency that is what the client waited for.
#[derive(Debug, Clone, Parser)]
#[command(name = "model-server", version)]
pub struct Args {
    /// Where to listen; port 0 takes any free one, which the log then names.
    #[arg(long, env = "MODEL_SERVER_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// An ONNX file with one input and one output, each a batch of rows [default: a built-in Linear(768, 2)].
    #[arg(long, env = "MODEL_SERVER_MODEL", value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Threads that compute, each with its own copy of the model.
    #[arg(long, env = "MODEL_SERVER_WORKERS", default_value_t = 1, value_parser = at_least_one)]
    pub workers: usize,
    /// Rows of one execution at most; a batch is made of what is waiting, nothing waits for more.
    #[arg(long, env = "MODEL_SERVER_MAX_BATCH_SIZE", default_value_t = 32, value_parser = at_least_one)]
    pub max_batch_size: usize,
    /// Requests that may wait; more are refused at once. Set an autoscaler's target well below.
    #[arg(long, env = "MODEL_SERVER_QUEUE_LIMIT", default_value_t = 256, value_parser = at_least_one)]
    pub queue_limit: usize,
    /// What a full queue is answered with.
    #[arg(long, env = "MODEL_SERVER_OVERLOAD_STATUS", default_value = "503", value_parser = ["503", "429"])]
    pub overload_status: String,
    /// Largest body of a request in bytes.
    #[arg(long, env = "MODEL_SERVER_MAX_BODY_BYTES", default_value_t = 2 << 20)]
    pub max_body_bytes: usize,
    /// Executions with made-up input before the server says it is healthy, for one row and for a full batch.
    #[arg(long, env = "MODEL_SERVER_WARMUP_ITERATIONS", default_value_t = 3)]
    pub warmup_iterations: usize,
    /// Time over which the peak of the queue depth is kept, in seconds.
    #[arg(long, env = "MODEL_SERVER_METRICS_WINDOW", default_value = "15", value_parser = seconds, value_name = "SECONDS")]
    pub metrics_window: Duration,
    /// How long to keep serving, not healthy any more, after the signal to end, in seconds.
    #[arg(long, env = "MODEL_SERVER_DRAIN_DELAY", default_value = "5", value_parser = seconds, value_name = "SECONDS")]
    pub drain_delay: Duration,
    /// How long requests under way may take to end after that, in seconds.
    #[arg(long, env = "MODEL_SERVER_DRAIN_TIMEOUT", default_value = "20", value_parser = seconds, value_name = "SECONDS")]
    pub drain_timeout: Duration,
    /// The form of log lines.
    #[arg(long, env = "MODEL_SERVER_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds, 0 or more".to_owned())
}
