//! The command line as it is written. [`crate::config`] makes of it what the server runs by, or a list of all that is
//! wrong.

#![allow(clippy::doc_markdown, reason = "it is printed as help, without markup")]

use std::sync::LazyLock;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

/// Serves a model over HTTP and exports metrics that an autoscaler can trust.
///
/// It answers POST /predict ({"features": [...]}), the Open Inference Protocol (/v2/...), /metrics and /health. Scale
/// on request_queue_depth: requests admitted and not finished. It counts from admission, moves both ways and has no
/// ceiling but the queue's limit.
///
/// Each flag can be given as the environment variable that is named with it; a flag wins. Times are seconds, or have a
/// unit: 200us, 5ms, 1.5s, 2m.
#[derive(Debug, Clone, Parser)]
#[command(name = "model-server", version = VERSION.as_str(), args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// What to do; serve by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags.
    #[command(flatten)]
    pub flags: Flags,
}

/// What can be done besides serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Check the flags, load the model, execute it once on made-up input and describe it, without serving.
    Check(Box<Flags>),
    /// Print a completion script for a shell: source <(model-server completion bash).
    Completion {
        /// Shell.
        shell: manual::Shell,
    },
    /// Print every flag as Markdown: docs/flags.md is made of it.
    #[command(hide = true)]
    Flags,
    /// Print the manual page of the program or of a command: model-server man | man -l -.
    Man {
        /// Command.
        command: Option<String>,
    },
}

/// All flags, as text, so that every fault can be reported together.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Address to listen on; `0.0.0.0` and `[::]` mean every address, over IPv4 and IPv6. Port 0 means any free one,
    /// which the log names.
    #[arg(
        long,
        help_heading = "Connections",
        env = "MODEL_SERVER_LISTEN",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS"
    )]
    pub listen: String,
    /// Additional address for /metrics and the probes, on a thread that requests cannot keep busy [default: none].
    #[arg(long, help_heading = "Connections", env = "MODEL_SERVER_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// Maximum number of open connections. One more closes another: the one that has been idle for the longest time, of
    /// an address that holds more than a quarter of them if there is one. A connection takes 4 to 70 KB.
    #[arg(
        long,
        help_heading = "Connections",
        env = "MODEL_SERVER_MAX_CONNECTIONS",
        default_value = "4096",
        value_name = "COUNT"
    )]
    pub max_connections: String,
    /// Timeout for the head of a request, from its first byte; on a new connection, from its beginning.
    #[arg(
        long,
        help_heading = "Connections",
        env = "MODEL_SERVER_HEADER_TIMEOUT",
        default_value = "30",
        value_name = "TIME"
    )]
    pub header_timeout: String,
    /// Time after which an idle connection is closed. Keep it above the idle timeout of the load balancer or proxy in
    /// front, so that they close first: else they send a request on a connection that is being closed, and answer 502.
    #[arg(
        long,
        help_heading = "Connections",
        env = "MODEL_SERVER_IDLE_TIMEOUT",
        default_value = "120",
        value_name = "TIME"
    )]
    pub idle_timeout: String,
    /// Timeout for a client to read an answer; then its connection is closed.
    #[arg(
        long,
        help_heading = "Connections",
        env = "MODEL_SERVER_ANSWER_TIMEOUT",
        default_value = "60",
        value_name = "TIME"
    )]
    pub answer_timeout: String,
    /// Timeout for the body of a request, answered with 408. At the end of a drain it is two seconds, or half of
    /// --drain-timeout if that is less, answered with 503.
    #[arg(
        long,
        help_heading = "Connections",
        env = "MODEL_SERVER_BODY_TIMEOUT",
        default_value = "30",
        value_name = "TIME"
    )]
    pub body_timeout: String,
    /// Maximum size of a request's body in bytes, compressed or not; a larger one is answered with 413.
    #[arg(
        long,
        help_heading = "Connections",
        env = "MODEL_SERVER_MAX_BODY_BYTES",
        default_value = "2097152",
        value_name = "BYTES"
    )]
    pub max_body_bytes: String,
    /// Maximum memory, in bytes, for all request bodies that are being received or decompressed, and for waiting inputs
    /// above 64 KiB; a body that finds none left is answered with 503 and Retry-After. Bodies above 64 KiB leave a
    /// quarter of it to smaller ones, and while half of it is taken a body has two seconds to arrive [default:
    /// 67108864, or four times --max-body-bytes if that is more].
    #[arg(long, help_heading = "Connections", env = "MODEL_SERVER_MAX_BODY_MEMORY", value_name = "BYTES")]
    pub max_body_memory: Option<String>,

    /// An ONNX file, with weights in files beside it or without, or a TorchScript file in builds with the feature torch
    /// [default: a built-in Linear(768, 2)].
    #[arg(long, help_heading = "Model", env = "MODEL_SERVER_MODEL", value_name = "FILE")]
    pub model: Option<String>,
    /// Folder of models, NAME/VERSION/model.onnx, with the model that --model-name names.
    #[arg(long, help_heading = "Model", env = "MODEL_SERVER_MODEL_REPOSITORY", value_name = "FOLDER")]
    pub model_repository: Option<String>,
    /// Name of the model in requests and metrics.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_MODEL_NAME",
        default_value = "default",
        value_name = "NAME"
    )]
    pub model_name: String,
    /// Version of the repository's model to serve: latest, which is the highest number, or a number.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_MODEL_VERSION_POLICY",
        default_value = "latest",
        value_name = "VERSION"
    )]
    pub model_version_policy: String,
    /// Backend: auto, by the file; onnx, by ONNX Runtime if its library is found and by tract if not; onnxruntime;
    /// tract, which is part of the program; or torch, in builds with that feature, TorchScript on CPU or GPU.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_BACKEND",
        default_value = "auto",
        value_name = "NAME"
    )]
    pub backend: String,
    /// Where to compute: auto, cpu, cuda or cuda:N. A device that is asked for and cannot be used keeps the server from
    /// starting.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_DEVICE",
        default_value = "auto",
        value_name = "DEVICE"
    )]
    pub device: String,
    /// ONNX Runtime's library, 1.20 or later, as in PyPI's package onnxruntime, or onnxruntime-gpu for GPUs: a file
    /// libonnxruntime.so [default: what ORT_DYLIB_PATH names, else libonnxruntime.so beside the program, else none].
    #[arg(long, help_heading = "Model", env = "MODEL_SERVER_ONNXRUNTIME", value_name = "FILE")]
    pub onnxruntime: Option<String>,
    /// Number of threads of one execution, up to 1024. Workers compute concurrently, each with this number.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_INTRA_OP_THREADS",
        default_value = "1",
        value_name = "COUNT"
    )]
    pub intra_op_threads: String,
    /// Numbers in a row of input, for TorchScript, which does not say [default: as wide as its first matrix of
    /// weights].
    #[arg(long, help_heading = "Model", env = "MODEL_SERVER_INPUT_WIDTH", value_name = "COUNT")]
    pub input_width: Option<String>,
    /// What a TorchScript file takes, in the order of its arguments: NAME:TYPE:DIMS;..., with -1 for sizes that
    /// requests choose [default: what model.json or config.pbtxt beside the file say, else rows of FP32 numbers].
    #[arg(long, help_heading = "Model", env = "MODEL_SERVER_INPUTS", value_name = "TENSORS")]
    pub inputs: Option<String>,
    /// What a TorchScript file gives, in the order of its results or by the keys of its dictionary [default: what it
    /// gives for zeros].
    #[arg(long, help_heading = "Model", env = "MODEL_SERVER_OUTPUTS", value_name = "TENSORS")]
    pub outputs: Option<String>,
    /// Threads that compute, up to 1024; with tract they share the model's weights, with ONNX Runtime and torch each
    /// has its own.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_WORKERS",
        default_value = "1",
        value_name = "COUNT"
    )]
    pub workers: String,
    /// Time without a sign of life after which a worker is stuck: its requests are refused and /v2/health/live fails.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_STALL_TIMEOUT",
        default_value = "30",
        value_name = "TIME"
    )]
    pub stall_timeout: String,
    /// Duration of an execution below which the thread that read the request executes the model, if no worker does:
    /// waking a worker takes longer. 0 means never.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_INLINE_BELOW",
        default_value = "100us",
        value_name = "TIME"
    )]
    pub inline_below: String,
    /// Number of executions with made-up input before the server is ready, for one row and for the largest batch; one
    /// for the sizes between, 2, 4, 8 and so on, and fewer if one takes more than a second. 0 means none, and no check
    /// of the memory.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_WARMUP_ITERATIONS",
        default_value = "3",
        value_name = "COUNT"
    )]
    pub warmup_iterations: String,
    /// Request to infer, in JSON, of one row: what the model is warmed and checked with, for models that do not take
    /// zeros [default: zeros].
    #[arg(long, help_heading = "Model", env = "MODEL_SERVER_WARMUP_INPUT", value_name = "FILE")]
    pub warmup_input: Option<String>,
    /// Maximum memory of the process, in bytes. Batch sizes are tried one after the other, and one that is expected to
    /// take more is not used; a model that takes more in spite of that is refused [default: what the control group's
    /// limit or the machine leave, less a tenth and --max-body-memory].
    #[arg(long, help_heading = "Model", env = "MODEL_SERVER_MAX_MEMORY", value_name = "BYTES")]
    pub max_memory: Option<String>,
    /// Number of failed requests in a row after which the model is executed with the warm-up input: if that fails, the
    /// server is neither ready nor live until it succeeds. 0 means never.
    #[arg(
        long,
        help_heading = "Model",
        env = "MODEL_SERVER_UNHEALTHY_AFTER",
        default_value = "10",
        value_name = "COUNT"
    )]
    pub unhealthy_after: String,

    /// Maximum number of rows of one execution. A batch is made of the requests that wait when a worker is free, if the
    /// model declares the number of rows dynamic.
    #[arg(
        long,
        help_heading = "Queue and batches",
        env = "MODEL_SERVER_MAX_BATCH_SIZE",
        default_value = "32",
        value_name = "ROWS"
    )]
    pub max_batch_size: String,
    /// Maximum time for which a request waits for others to fill its batch. It costs a lone client this time; try 0
    /// first.
    #[arg(
        long,
        help_heading = "Queue and batches",
        env = "MODEL_SERVER_MAX_BATCH_DELAY",
        default_value = "0",
        value_name = "TIME"
    )]
    pub max_batch_delay: String,
    /// Maximum number of waiting requests; more are refused immediately, with Retry-After. Set an autoscaler's target
    /// well below.
    #[arg(
        long,
        help_heading = "Queue and batches",
        env = "MODEL_SERVER_QUEUE_LIMIT",
        default_value = "256",
        value_name = "COUNT"
    )]
    pub queue_limit: String,
    /// Rows of requests that may wait; one request may, however many it has. Refused as by --queue-limit [default: no
    /// other limit than that].
    #[arg(
        long,
        help_heading = "Queue and batches",
        env = "MODEL_SERVER_QUEUE_ROW_LIMIT",
        value_name = "ROWS"
    )]
    pub queue_row_limit: Option<String>,
    /// Status of the answer to a request that finds the queue full: 503 or 429.
    #[arg(
        long,
        help_heading = "Queue and batches",
        env = "MODEL_SERVER_OVERLOAD_STATUS",
        default_value = "503",
        value_name = "STATUS"
    )]
    pub overload_status: String,
    /// Default time for which a request may wait for its execution; then it is answered with 504. 0 means
    /// --max-timeout.
    #[arg(
        long,
        help_heading = "Queue and batches",
        env = "MODEL_SERVER_DEFAULT_TIMEOUT",
        default_value = "0",
        value_name = "TIME"
    )]
    pub default_timeout: String,
    /// Maximum time for which a request may wait for its execution, whatever it asks for. 0 means no limit.
    #[arg(
        long,
        help_heading = "Queue and batches",
        env = "MODEL_SERVER_MAX_TIMEOUT",
        default_value = "30",
        value_name = "TIME"
    )]
    pub max_timeout: String,

    /// Bounds of the histograms of durations, in seconds, separated by commas; or default, or tutorial.
    #[arg(
        long,
        help_heading = "Metrics",
        env = "MODEL_SERVER_LATENCY_BUCKETS",
        default_value = "default",
        value_name = "BOUNDS"
    )]
    pub latency_buckets: String,
    /// Window of request_queue_depth_peak and inference_duty_cycle_percent; not less than a scrape interval.
    #[arg(
        long,
        help_heading = "Metrics",
        env = "MODEL_SERVER_METRICS_WINDOW",
        default_value = "15",
        value_name = "TIME"
    )]
    pub metrics_window: String,
    /// Interval at which the utilization of the GPUs is published, averaged over this time.
    #[arg(
        long,
        help_heading = "Metrics",
        env = "MODEL_SERVER_GPU_POLL_INTERVAL",
        default_value = "5",
        value_name = "TIME"
    )]
    pub gpu_poll_interval: String,
    /// Value of gpu_utilization_percent while an expected GPU cannot be read: absent, so that the GPU does not look
    /// idle; or zero, as in the tutorial.
    #[arg(
        long,
        help_heading = "Metrics",
        env = "MODEL_SERVER_GPU_UNAVAILABLE",
        default_value = "absent",
        value_name = "WHAT"
    )]
    pub gpu_unavailable: String,

    /// Time to serve on, not ready, after the shutdown signal, until load balancers have noticed.
    #[arg(
        long,
        help_heading = "Ending and logs",
        env = "MODEL_SERVER_DRAIN_DELAY",
        default_value = "5",
        value_name = "TIME"
    )]
    pub drain_delay: String,
    /// Maximum time for requests in flight to finish after that. Both together must be below the pod's grace period.
    #[arg(
        long,
        help_heading = "Ending and logs",
        env = "MODEL_SERVER_DRAIN_TIMEOUT",
        default_value = "20",
        value_name = "TIME"
    )]
    pub drain_timeout: String,
    /// Format of log lines: text or json.
    #[arg(
        long,
        help_heading = "Ending and logs",
        env = "MODEL_SERVER_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: String,
}

/// Every flag as Markdown, for `docs/flags.md`.
pub fn markdown() -> String {
    let note = "Each flag can be given as an environment variable, too: `MODEL_SERVER_QUEUE_LIMIT` for `--queue-limit`. \
                The flag wins.";
    format!("{note}\n\n{}", manual::flags(CommandLine::command()))
}

/// The environment variable that stands for a flag, `--queue-limit`.
pub(crate) fn variable(flag: &str) -> String {
    format!("MODEL_SERVER_{}", flag.trim_start_matches('-').to_uppercase().replace('-', "_"))
}

const EXIT_CODES: &str = "\
Exit codes: 0 after a signal to end; 1 when serving failed; 2 when the model cannot be used; 64 when the flags cannot.

Example, for pods that ought to scale at 10 waiting requests:
  model-server --model model.onnx --max-batch-size 32 --queue-limit 128 --admin-listen 0.0.0.0:9090";

/// The version, and the commit if the build was told it: images are, a plain `cargo build` is not, so that a new commit
/// compiles nothing again.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("BUILD_COMMIT").unwrap_or("unknown");
    format!("{} (commit {commit})", env!("CARGO_PKG_VERSION"))
});

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn the_page_of_flags_is_what_the_program_prints() {
        let page = include_str!("../../docs/flags.md");
        let (_, section) = page.split_once("\n## model-server\n\n").expect("a section of the model server");
        let section = section.split("\n## ").next().unwrap_or_default();
        assert!(section == markdown(), "docs/flags.md is not what the program prints: run scripts/flags");
    }

    #[test]
    fn every_flag_has_the_environment_variable_of_its_name() {
        let program = CommandLine::command();
        let flags: Vec<_> =
            program.get_arguments().filter_map(|flag| Some((flag.get_long()?, flag))).collect();
        assert!(flags.len() > 30, "{flags:?}");
        each_row(flags, |(name, flag)| {
            assert_eq!(flag.get_env(), Some(variable(name).as_ref()), "{name}");
        });
    }
}
