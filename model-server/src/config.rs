//! What the server runs by: every value of the right type, and all of them fitting together.

mod model;
mod values;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

pub use self::model::{Backend, DeclaredTensors, Device, ModelConfig, ModelSource, VersionPolicy};
use self::values::{
    address, at_least_one, bounds, bytes, choice, count, device, name, optional_count, optional_time,
    positive_time, tensors, threads, time, version_policy,
};
use crate::args::{Flags, variable};
use crate::bodies::BodyLimits;

/// What the server runs by.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Connections and bodies.
    pub http: HttpConfig,
    /// Where the model comes from.
    pub model: ModelConfig,
    /// Threads that compute.
    pub workers: NonZeroUsize,
    /// A worker that is silent for so long is stuck.
    pub stall_timeout: Duration,
    /// Executions that take less than this are done by the thread that brings a request.
    pub inline_below: Duration,
    /// Executions with made-up input before the server is ready.
    pub warmup_iterations: usize,
    /// A file with the request that the model is warmed with; zeros when `None`.
    pub warmup_input: Option<PathBuf>,
    /// Resident bytes that the process may take; what the control group and the machine leave when `None`.
    pub max_memory: Option<u64>,
    /// Failed requests in a row after which the warm-up input decides about the model; never when `None`.
    pub unhealthy_after: Option<u32>,
    /// Rows of one execution at most.
    pub max_batch_size: NonZeroUsize,
    /// How long a request may wait for others to fill its batch.
    pub max_batch_delay: Duration,
    /// Requests that may wait.
    pub queue_limit: NonZeroUsize,
    /// Rows of requests that may wait; as many as the requests have when `None`.
    pub queue_row_limit: Option<NonZeroUsize>,
    /// What a request is answered with that finds the queue full.
    pub overload_status: StatusCode,
    /// How long requests may wait for their execution.
    pub timeouts: Timeouts,
    /// What metrics look like.
    pub metrics: MetricsConfig,
    /// How the server ends.
    pub drain: DrainConfig,
    /// The form of log lines.
    pub log_format: LogFormat,
}

/// Connections and bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to answer metrics and probes as well; nowhere when `None`.
    pub admin_listen: Option<SocketAddr>,
    /// Connections that are served at a time; one more ends another.
    pub max_connections: NonZeroUsize,
    /// How long the head of a request may take to come.
    pub header_timeout: Duration,
    /// How long a connection stays open without a request.
    pub idle_timeout: Duration,
    /// How long a client may take to read an answer.
    pub answer_timeout: Duration,
    /// What request bodies may take.
    pub bodies: BodyLimits,
}

/// How long requests may wait for their execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// When a request does not say.
    pub default: Option<Duration>,
    /// The maximum; no limit when `None`.
    pub max: Option<Duration>,
}

impl Timeouts {
    /// How long a request may wait that asks for this time; no limit when `None`.
    pub fn of(self, asked: Option<Duration>) -> Option<Duration> {
        let wanted = asked.or(self.default);
        match (wanted, self.max) {
            (Some(wanted), Some(max)) => Some(wanted.min(max)),
            (wanted, max) => wanted.or(max),
        }
    }
}

/// What metrics look like.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsConfig {
    /// Bounds of the histograms of times, in seconds.
    pub latency_buckets: Vec<f64>,
    /// The time that the trailing metrics look back.
    pub window: Duration,
    /// How often the use of GPUs is published.
    pub gpu_poll_interval: Duration,
    /// An unknown use of a GPU is published as 0.
    pub gpu_unknown_is_zero: bool,
}

/// How the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainConfig {
    /// How long to keep serving, not ready any more.
    pub delay: Duration,
    /// How long requests under way may take after that.
    pub timeout: Duration,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// All that is wrong with the flags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Faults(pub Vec<String>);

impl Config {
    /// Parses all flags.
    ///
    /// # Errors
    /// All that is wrong, not only the first.
    pub fn parse(flags: Flags) -> Result<Config, Faults> {
        // In full, so that an unused flag does not compile.
        let Flags {
            listen,
            admin_listen,
            max_connections,
            header_timeout,
            idle_timeout,
            answer_timeout,
            body_timeout,
            max_body_bytes,
            max_body_memory,
            model,
            model_repository,
            model_name,
            model_version_policy,
            backend,
            device: device_text,
            onnxruntime,
            intra_op_threads,
            input_width,
            inputs,
            outputs,
            workers,
            stall_timeout,
            inline_below,
            warmup_iterations,
            warmup_input,
            max_memory,
            unhealthy_after,
            max_batch_size,
            max_batch_delay,
            queue_limit,
            queue_row_limit,
            overload_status,
            default_timeout,
            max_timeout,
            latency_buckets,
            metrics_window,
            gpu_poll_interval,
            gpu_unavailable,
            drain_delay,
            drain_timeout,
            log_format,
        } = flags;
        let mut f = Collector(Vec::new());
        let admin = admin_listen.map(|text| f.check("--admin-listen", &text, address));
        let version = f.check("--model-version-policy", &model_version_policy, version_policy);
        let mut backends = vec![("auto", Backend::Auto), ("onnx", Backend::Onnx)];
        if cfg!(feature = "onnxruntime") {
            backends.push(("onnxruntime", Backend::OnnxRuntime));
        }
        backends.push(("tract", Backend::Tract));
        if cfg!(feature = "torch") {
            backends.push(("torch", Backend::Torch));
        }
        let backend = f.check("--backend", &backend, |text| match text {
            "torch" if !cfg!(feature = "torch") => {
                let names: Vec<&str> = backends.iter().map(|(name, _)| *name).collect();
                Err(format!("one of {} in this build, or a build with --features torch", names.join(", ")))
            }
            _ => choice(text, &backends),
        });
        let max_body_bytes = f.check("--max-body-bytes", &max_body_bytes, bytes);
        let max_body_memory = max_body_memory.map(|text| f.check("--max-body-memory", &text, bytes));
        let most_bytes = max_body_bytes.unwrap_or(1);
        let max_body_memory = max_body_memory.unwrap_or(Some(BODY_MEMORY.max(most_bytes.saturating_mul(4))));
        if let Some(memory) = max_body_memory
            && memory / 3 < most_bytes
        {
            f.0.push(format!(
                "--max-body-memory: expected at least three times --max-body-bytes, {most_bytes}, for a body \
                 compressed and decompressed, found {memory}"
            ));
        }
        let queue_row_limit = queue_row_limit.map(|text| f.check("--queue-row-limit", &text, at_least_one));
        let max_memory = max_memory.map(|text| f.check("--max-memory", &text, bytes));
        let input_width = input_width.map(|text| f.check("--input-width", &text, at_least_one));
        let tensors = (
            inputs.map(|text| f.check("--inputs", &text, tensors)),
            outputs.map(|text| f.check("--outputs", &text, tensors)),
        );
        let signature = match tensors {
            (Some(inputs), outputs) => Some(DeclaredTensors {
                inputs: inputs.unwrap_or_default(),
                outputs: outputs.flatten().unwrap_or_default(),
            }),
            (None, None) => None,
            (None, Some(_)) => {
                f.0.push("--outputs: expected --inputs as well, found none".to_owned());
                None
            }
        };
        if let (Some(_), Some(_)) = (&signature, &input_width) {
            f.0.push("--inputs and --input-width: expected one of them, found both".to_owned());
        }
        let timeouts = (
            f.check("--default-timeout", &default_timeout, optional_time),
            f.check("--max-timeout", &max_timeout, optional_time),
        );
        if let (Some(Some(default)), Some(Some(max))) = timeouts
            && default > max
        {
            f.0.push(format!(
                "--default-timeout: expected no more than --max-timeout, {max:?}, found {default:?}"
            ));
        }
        let source = match (model, model_repository) {
            (Some(_), Some(_)) => {
                f.0.push("--model and --model-repository: expected one of them, found both".to_owned());
                None
            }
            (Some(file), None) => Some(ModelSource::File(PathBuf::from(file))),
            (None, Some(folder)) => {
                version.map(|version| ModelSource::Repository(PathBuf::from(folder), version))
            }
            (None, None) => Some(ModelSource::BuiltIn),
        };
        if !matches!(source, Some(ModelSource::Repository(..)) | None)
            && matches!(version, Some(VersionPolicy::Exactly(_)))
        {
            f.0.push(
                "--model-version-policy: expected --model-repository with a number, found none".to_owned(),
            );
        }
        let device = f.check("--device", &device_text, device);
        if let (Some(Device::Cuda(_)), false) =
            (device, cfg!(any(feature = "torch", feature = "onnxruntime")))
        {
            f.0.push(format!(
                "--device: expected auto or cpu, found {device_text}: no backend of this build computes on a GPU"
            ));
        }
        let overload = |text: &str| {
            choice(text, &[("503", StatusCode::SERVICE_UNAVAILABLE), ("429", StatusCode::TOO_MANY_REQUESTS)])
        };
        let unavailable = |text: &str| choice(text, &[("absent", false), ("zero", true)]);
        let log = |text: &str| choice(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let parsed = (
            f.check("--listen", &listen, address),
            f.check("--max-connections", &max_connections, at_least_one),
            f.check("--header-timeout", &header_timeout, positive_time),
            f.check("--idle-timeout", &idle_timeout, positive_time),
            f.check("--answer-timeout", &answer_timeout, positive_time),
            f.check("--body-timeout", &body_timeout, positive_time),
            f.check("--model-name", &model_name, name),
            f.check("--intra-op-threads", &intra_op_threads, threads),
            f.check("--workers", &workers, threads),
            f.check("--stall-timeout", &stall_timeout, positive_time),
            f.check("--inline-below", &inline_below, time),
            f.check("--warmup-iterations", &warmup_iterations, count),
            f.check("--unhealthy-after", &unhealthy_after, optional_count),
            f.check("--max-batch-size", &max_batch_size, at_least_one),
            f.check("--max-batch-delay", &max_batch_delay, time),
            f.check("--queue-limit", &queue_limit, at_least_one),
            f.check("--overload-status", &overload_status, overload),
            f.check("--latency-buckets", &latency_buckets, bounds),
            f.check("--metrics-window", &metrics_window, positive_time),
            f.check("--gpu-poll-interval", &gpu_poll_interval, positive_time),
            f.check("--gpu-unavailable", &gpu_unavailable, unavailable),
            f.check("--drain-delay", &drain_delay, time),
            f.check("--drain-timeout", &drain_timeout, time),
            f.check("--log-format", &log_format, log),
        );
        let (
            Some(listen),
            Some(max_connections),
            Some(header_timeout),
            Some(idle_timeout),
            Some(answer_timeout),
            Some(body_timeout),
            Some(name),
            Some(intra_op_threads),
            Some(workers),
            Some(stall_timeout),
            Some(inline_below),
            Some(warmup_iterations),
            Some(unhealthy_after),
            Some(max_batch_size),
            Some(max_batch_delay),
            Some(queue_limit),
            Some(overload_status),
            Some(latency_buckets),
            Some(window),
            Some(gpu_poll_interval),
            Some(gpu_unknown_is_zero),
            Some(delay),
            Some(timeout),
            Some(log_format),
        ) = parsed
        else {
            return Err(Faults(f.0));
        };
        let (Some(source), Some(backend), Some(device)) = (source, backend, device) else {
            return Err(Faults(f.0));
        };
        let (Some(default), Some(max)) = timeouts else {
            return Err(Faults(f.0));
        };
        let (Some(max_body_bytes), Some(max_body_memory)) = (max_body_bytes, max_body_memory) else {
            return Err(Faults(f.0));
        };
        if !f.0.is_empty() {
            return Err(Faults(f.0));
        }
        Ok(Config {
            http: HttpConfig {
                listen,
                admin_listen: admin.flatten(),
                max_connections,
                header_timeout,
                idle_timeout,
                answer_timeout,
                bodies: BodyLimits { bytes: max_body_bytes, memory: max_body_memory, time: body_timeout },
            },
            model: ModelConfig {
                source,
                name,
                backend,
                device,
                onnxruntime: onnxruntime.map(PathBuf::from),
                intra_op_threads,
                signature,
                input_width: input_width.flatten(),
            },
            workers,
            stall_timeout,
            inline_below,
            warmup_iterations,
            warmup_input: warmup_input.map(PathBuf::from),
            max_memory: max_memory.flatten().map(|bytes| bytes as u64),
            unhealthy_after,
            max_batch_size,
            max_batch_delay,
            queue_limit,
            queue_row_limit: queue_row_limit.flatten(),
            overload_status,
            timeouts: Timeouts { default, max },
            metrics: MetricsConfig { latency_buckets, window, gpu_poll_interval, gpu_unknown_is_zero },
            drain: DrainConfig { delay, timeout },
            log_format,
        })
    }
}

/// Memory for bodies where no flag says it: 32 of the largest that are allowed by default.
const BODY_MEMORY: usize = 64 << 20;

/// Collects faults.
struct Collector(Vec<String>);

impl Collector {
    fn check<T>(
        &mut self,
        flag: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(expected) => {
                let variable = variable(flag);
                self.0.push(format!("{flag} ({variable}): expected {expected}, found {text:?}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::CommandLine;
    use crate::telemetry::TUTORIAL_BUCKETS;

    fn parse(arguments: &[&str]) -> Result<Config, Faults> {
        let words = ["model-server"].iter().chain(arguments);
        Config::parse(CommandLine::try_parse_from(words).expect("known flags").flags)
    }

    fn faults(arguments: &[&str]) -> Vec<String> {
        parse(arguments).expect_err("wrong flags").0
    }

    #[test]
    fn the_defaults_are_the_tutorials_port_and_batches_without_delay() {
        let config = parse(&[]).expect("valid");
        assert_eq!(config.http.listen, SocketAddr::from(([0, 0, 0, 0], 8080)));
        assert_eq!(config.http.admin_listen, None);
        assert_eq!(config.model.source, ModelSource::BuiltIn);
        assert_eq!((config.max_batch_size.get(), config.max_batch_delay), (32, Duration::ZERO));
        assert_eq!(config.queue_limit.get(), 256);
        assert_eq!(config.timeouts, Timeouts { default: None, max: Some(Duration::from_secs(30)) });
        assert!(!config.metrics.gpu_unknown_is_zero);
        assert_eq!((config.unhealthy_after, config.max_memory), (Some(10), None));
        assert_eq!(parse(&["--unhealthy-after=0"]).expect("valid").unhealthy_after, None);
    }

    #[test]
    fn every_fault_is_told_with_what_was_expected_and_found() {
        let found = faults(&[
            "--listen=nowhere",
            "--intra-op-threads=1025",
            "--workers=0",
            "--max-batch-delay=soon",
            "--overload-status=500",
            "--latency-buckets=1,1",
            "--device=tpu",
            "--model-name=../x",
            "--log-format=xml",
        ]);
        assert_eq!(
            found,
            [
                "--device (MODEL_SERVER_DEVICE): expected auto, cpu, cuda or cuda:N, found \"tpu\"",
                "--listen (MODEL_SERVER_LISTEN): expected an address with a port, as 0.0.0.0:8080, found \"nowhere\"",
                "--model-name (MODEL_SERVER_MODEL_NAME): expected letters, digits, '.', '_' and '-', no '.' first, found \"../x\"",
                "--intra-op-threads (MODEL_SERVER_INTRA_OP_THREADS): expected a whole number from 1 to 1024, found \"1025\"",
                "--workers (MODEL_SERVER_WORKERS): expected a whole number from 1 to 1024, found \"0\"",
                "--max-batch-delay (MODEL_SERVER_MAX_BATCH_DELAY): expected a time, as 5, 1.5s, 20ms or 200us, found \"soon\"",
                "--overload-status (MODEL_SERVER_OVERLOAD_STATUS): expected 503 or 429, found \"500\"",
                "--latency-buckets (MODEL_SERVER_LATENCY_BUCKETS): expected default, tutorial, or rising numbers above 0 between commas, found \"1,1\"",
                "--log-format (MODEL_SERVER_LOG_FORMAT): expected text or json, found \"xml\"",
            ]
        );
    }

    #[test]
    fn values_that_do_not_fit_together_are_told_too() {
        assert_eq!(
            faults(&["--model=a", "--model-repository=b", "--default-timeout=40", "--workers=x"]),
            [
                "--default-timeout: expected no more than --max-timeout, 30s, found 40s",
                "--model and --model-repository: expected one of them, found both",
                "--workers (MODEL_SERVER_WORKERS): expected a whole number from 1 to 1024, found \"x\"",
            ]
        );
        let found = faults(&["--model-version-policy=3"]);
        assert!(found[0].contains("expected --model-repository"), "{found:?}");
        // Whether there is such a GPU is known when the model is loaded.
        let cuda = parse(&["--device=cuda:1"]);
        assert_eq!(cuda.is_ok(), cfg!(any(feature = "torch", feature = "onnxruntime")), "{cuda:?}");
        let torch = parse(&["--backend=torch"]);
        assert_eq!(torch.is_ok(), cfg!(feature = "torch"), "{torch:?}");
        if !cfg!(feature = "torch") {
            assert_eq!(
                faults(&["--backend=torch"]),
                [
                    "--backend (MODEL_SERVER_BACKEND): expected one of auto, onnx, onnxruntime, tract in this build, or a build \
                     with --features torch, found \"torch\""
                ]
            );
        }
    }

    #[test]
    fn the_memory_for_bodies_holds_a_body_compressed_and_decompressed() {
        let memory = |arguments: &[&str]| parse(arguments).expect("valid").http.bodies.memory;
        assert_eq!(memory(&[]), 64 << 20);
        assert_eq!(memory(&["--max-body-bytes=100000000"]), 400_000_000);
        assert_eq!(memory(&["--max-body-bytes=1000", "--max-body-memory=3000"]), 3000);
        assert_eq!(
            faults(&["--max-body-bytes=1000", "--max-body-memory=2999"]),
            [
                "--max-body-memory: expected at least three times --max-body-bytes, 1000, for a body compressed and \
                 decompressed, found 2999"
            ]
        );
    }

    #[test]
    fn times_have_units_and_buckets_have_names() {
        let config = parse(&[
            "--max-batch-delay=200us",
            "--drain-delay=0.5",
            "--drain-timeout=1m",
            "--default-timeout=250ms",
            "--latency-buckets=tutorial",
            "--gpu-unavailable=zero",
        ])
        .expect("valid");
        assert_eq!(config.max_batch_delay, Duration::from_micros(200));
        assert_eq!(
            config.drain,
            DrainConfig { delay: Duration::from_millis(500), timeout: Duration::from_mins(1) }
        );
        assert_eq!(config.timeouts.default, Some(Duration::from_millis(250)));
        assert_eq!(config.metrics.latency_buckets, TUTORIAL_BUCKETS);
        assert!(config.metrics.gpu_unknown_is_zero);
    }

    #[test]
    fn a_client_may_ask_for_less_but_not_for_more() {
        let second = Duration::from_secs;
        let timeouts = Timeouts { default: Some(second(2)), max: Some(second(5)) };
        assert_eq!(timeouts.of(None), Some(second(2)));
        assert_eq!(timeouts.of(Some(second(1))), Some(second(1)));
        assert_eq!(timeouts.of(Some(second(9))), Some(second(5)));
        assert_eq!(Timeouts { default: None, max: Some(second(5)) }.of(None), Some(second(5)));
        assert_eq!(Timeouts { default: None, max: None }.of(None), None);
    }
}
