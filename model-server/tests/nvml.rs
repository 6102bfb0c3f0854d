//! The program with a library in the place of NVIDIA's: what it makes of several GPUs, of partitions, of one that is
//! lost and of calls that do not return. The library is compiled here, by the machine's C compiler.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program over the stand-in, which reads its script again at each call.
struct Server {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        let dir = tempfile::tempdir().expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvml/stand_in.c");
        let library = dir.path().join("libnvidia-ml.so.1");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(compiled.expect("a C compiler").success(), "the stand-in compiles");
        let path = dir.path().join("script");
        std::fs::write(&path, script).expect("writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_model-server"))
            .args(["--listen=127.0.0.1:0", "--gpu-poll-interval=100ms", "--drain-delay=0"])
            .args(arguments)
            .env("LD_LIBRARY_PATH", dir.path())
            .env("NVML_SCRIPT", &path)
            .env("NVIDIA_VISIBLE_DEVICES", "all")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let listening = lines.find_map(|line| Some(line.split_once("listening address=")?.1.to_owned()));
        let address = listening.expect("it listens").parse().expect("an address");
        // The log goes on: read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address, dir }
    }

    /// What the library shows from now on, replaced as a whole.
    fn change(&self, script: &str) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, script).expect("writable");
        std::fs::rename(new, self.dir.path().join("script")).expect("writable");
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// Waits until the metrics are so.
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if holds(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "not {what} in\n{metrics}");
        }
    }

    /// It ends by itself when asked to, whatever the library does.
    fn ends(mut self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status();
        assert!(killed.expect("a shell").success());
        assert!(self.child.wait().expect("a child").success());
    }
}

/// The program is not left behind by a test that fails.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn is(series: &'static str, wanted: f64) -> impl Fn(&str) -> bool {
    move |metrics| value(metrics, series) == Some(wanted)
}

const MEAN: &str = "gpu_utilization_percent";

#[test]
fn the_gauge_is_the_mean_of_the_gpus_that_the_process_may_use() {
    let script = "devices=4 busy=0:100 busy=2:50";
    for (variables, mean, shown) in [
        (&[][..], 37.5, 4),
        (&[("CUDA_VISIBLE_DEVICES", "2")], 50.0, 1),
        (&[("CUDA_VISIBLE_DEVICES", "GPU-aa"), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")], 100.0, 1),
        (&[("CUDA_VISIBLE_DEVICES", "1,2")], 25.0, 2),
    ] {
        let server = Server::start(script, &[], variables);
        let metrics = server.until("the mean", is(MEAN, mean));
        let devices =
            metrics.lines().filter(|line| line.starts_with("gpu_device_utilization_percent{")).count();
        assert_eq!(devices, shown, "{variables:?}");
        assert!(is("gpu_metrics_up", 1.0)(&metrics), "{metrics}");
        server.change("devices=4 busy=0:7 busy=1:7 busy=2:7 busy=3:7");
        let metrics = server.until("the new mean", is(MEAN, 7.0));
        if shown == 4 {
            assert!(is(
                r#"gpu_memory_used_bytes{gpu="3",uuid="GPU-daaaaaaa"}"#,
                f64::from(1_u32 << 30) * 4.0
            )(&metrics));
        }
        server.ends();
    }
}

#[test]
fn without_samples_the_latest_value_counts() {
    let server = Server::start("devices=1 busy=0:42 no-samples", &[], &[]);
    server.until("the latest value", is(MEAN, 42.0));
    server.ends();
}

#[test]
fn a_lost_gpu_makes_the_gauge_absent_until_it_is_back() {
    let server = Server::start("devices=2 busy=0:10 busy=1:20", &[], &[]);
    server.until("the mean", is(MEAN, 15.0));
    server.change("devices=2 busy=0:10 busy=1:20 lost=1");
    let metrics = server.until("absent", |metrics| value(metrics, MEAN).is_none());
    assert!(is("gpu_metrics_up", 0.0)(&metrics), "{metrics}");
    let lost = value(&metrics, r#"gpu_metrics_errors_total{reason="gpu_lost"}"#);
    assert!(lost.is_some_and(|count| count > 0.0), "{metrics}");
    server.change("devices=2 busy=0:10 busy=1:20");
    server.until("back", is(MEAN, 15.0));
    server.ends();
}

#[test]
fn a_call_that_does_not_return_makes_the_gauge_absent_and_stops_nothing() {
    let server = Server::start("devices=1 busy=0:10", &[], &[]);
    server.until("the value", is(MEAN, 10.0));
    server.change("devices=1 busy=0:10 hang=0");
    let metrics = server.until("absent", |metrics| value(metrics, MEAN).is_none());
    let timeouts = value(&metrics, r#"gpu_metrics_errors_total{reason="timeout"}"#);
    assert!(timeouts.is_some_and(|count| count > 0.0), "{metrics}");
    server.ends();
}

#[test]
fn a_partitioned_gpu_has_no_utilization_and_is_not_taken_for_idle() {
    let server = Server::start("devices=2 busy=1:30 partitioned=0", &[], &[]);
    let unsupported = r#"gpu_metrics_errors_total{reason="not_supported"}"#;
    let metrics =
        server.until("not supported", |metrics| value(metrics, unsupported).is_some_and(|count| count > 0.0));
    assert_eq!(value(&metrics, MEAN), None, "{metrics}");
    server.ends();
}

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);
