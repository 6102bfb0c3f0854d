//! The program as it is run: from its flags to its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitStatus};
use std::time::Instant;

use testkit::process::Process;
use testkit::wait::PATIENCE;
use testkit::{exposition, onnx};

struct Program {
    process: Process,
    _folder: tempfile::TempDir,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        Program::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Program {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_model-server"));
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).envs(variables.iter().copied());
        let process = Process::start_command("model-server", command, folder.path()).expect("it starts");
        Program { process, _folder: folder }
    }

    /// The address that the program listens on, once its model is ready.
    async fn ready(&mut self) -> SocketAddr {
        let address = self.listening("listening address=").await;
        self.until("model ready inputs=").await;
        address
    }

    async fn listening(&mut self, text: &str) -> SocketAddr {
        let line = self.until(text).await;
        line.rsplit('=').next().expect("a value").parse().expect("an address")
    }

    /// Waits for a line of the log.
    async fn until(&mut self, text: &str) -> String {
        self.process.wait_for_line(text, PATIENCE).await.unwrap_or_else(|error| panic!("{error}"))
    }

    fn signal(&self, name: &str) {
        self.process.signal(name).expect("it runs");
    }

    /// The most memory that it ever had, in bytes.
    fn peak_memory(&self) -> u64 {
        self.process.peak_resident_bytes().expect("it runs")
    }

    async fn end(&mut self) -> ExitStatus {
        self.process.wait(PATIENCE).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

#[derive(Debug)]
struct Answer {
    code: u16,
    close: bool,
    body: String,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Client(BufReader::new(stream))
    }

    fn send(&mut self, method: &str, path: &str, body: &str) {
        self.send_with(method, path, "", body);
    }

    /// With more headers, each with the end of its line.
    fn send_with(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes()).expect("the connection is open");
    }

    fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        let code = line.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {line:?}"));
        let code = code.parse().expect("a status");
        let (mut length, mut close) = (0, false);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a header");
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().expect("a number");
            }
            close |= header == "connection: close";
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        Answer { code, close, body: String::from_utf8(body).expect("text") }
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, body);
        self.answer()
    }

    fn ask_with(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        self.send_with(method, path, headers, body);
        self.answer()
    }

    /// The server closed the connection.
    fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("an end");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

fn metric(metrics: &str, series: &str) -> f64 {
    exposition::value(metrics, series).unwrap_or_else(|| panic!("no {series} in\n{metrics}"))
}

const FEATURES: &str = r#"{"features":[0.1,0.2,0.3]}"#;

#[tokio::test]
async fn a_signal_drains_and_a_second_one_ends() {
    let mut program = Program::start(&["--drain-delay=10m", "--admin-listen=127.0.0.1:0"]);
    let address = program.listening(" listening address=").await;
    let admin = program.listening("admin listening address=").await;
    program.until("model ready inputs=\"\\\"features\\\" FP32 [-1, 768]\" outputs=").await;
    let (mut client, mut probe, mut observer) =
        (Client::new(address), Client::new(admin), Client::new(admin));
    let answer = client.ask("POST", "/predict", FEATURES);
    assert_eq!((answer.code, answer.close), (200, false), "{answer:?}");
    assert_eq!(probe.ask("GET", "/v2/health/ready", "").code, 200);
    program.signal("TERM");
    program.until("draining").await;
    // Not ready immediately, and served all the same; each answer ends its connection.
    let answer = client.ask("GET", "/health", "");
    assert_eq!((answer.code, answer.close, answer.body.as_str()), (503, true, "shutting down"));
    client.assert_closed();
    let mut client = Client::new(address);
    let answer = client.ask("POST", "/predict", FEATURES);
    assert_eq!((answer.code, answer.close), (200, true));
    assert_eq!(probe.ask("GET", "/v2/health/ready", "").code, 503);
    assert_eq!(probe.ask("GET", "/v2/health/live", "").code, 200);
    let metrics = observer.ask("GET", "/metrics", "").body;
    assert_eq!(metric(&metrics, "server_draining"), 1.0);
    program.signal("INT");
    assert_eq!(program.end().await.code(), Some(0));
}

#[tokio::test]
async fn clients_that_keep_asking_notice_no_restart() {
    let (mut old, mut new) = (Program::start(&["--drain-delay=10m"]), Program::start(&[]));
    let (from, to) = (old.ready().await, new.ready().await);
    let ask_until_sent_elsewhere = || {
        let mut client = Client::new(from);
        loop {
            let answer = client.ask("POST", "/predict", FEATURES);
            assert_eq!(answer.code, 200, "{answer:?}");
            if answer.close {
                break;
            }
        }
        let answer = Client::new(to).ask("POST", "/predict", FEATURES);
        assert_eq!((answer.code, answer.close), (200, false), "{answer:?}");
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(ask_until_sent_elsewhere);
        }
        old.signal("TERM");
    });
    let metrics = Client::new(from).ask("GET", "/metrics", "").body;
    for series in ["request_queue_depth", r#"inference_requests_total{model="default",outcome="draining"}"#] {
        assert_eq!(metric(&metrics, series), 0.0, "{series}");
    }
    old.signal("TERM");
    assert_eq!(old.end().await.code(), Some(0));
}

#[tokio::test]
async fn requests_under_way_end_before_the_server_does() {
    // The request waits for another one to fill its batch, for a while.
    let mut program = Program::start(&[
        "--drain-delay=0",
        "--drain-timeout=1m",
        "--max-batch-size=2",
        "--max-batch-delay=2s",
    ]);
    let address = program.ready().await;
    let (mut client, mut idle) = (Client::new(address), Client::new(address));
    assert_eq!(idle.ask("GET", "/health", "").code, 200);
    client.send("POST", "/predict", FEATURES);
    wait_for_depth(&mut idle, 1.0);
    program.signal("TERM");
    let answer = client.answer();
    assert_eq!(answer.code, 200, "{answer:?}");
    // A connection without a request is not waited for.
    idle.assert_closed();
    assert_eq!(program.end().await.code(), Some(0));
    assert!(TcpStream::connect(address).is_err(), "the listener is still open");
}

#[tokio::test]
async fn what_does_not_end_in_time_is_refused() {
    let mut program = Program::start(&[
        "--drain-delay=0",
        "--drain-timeout=50ms",
        "--max-batch-size=2",
        "--max-batch-delay=10m",
        "--max-timeout=0",
    ]);
    let address = program.ready().await;
    let (mut client, mut observer) = (Client::new(address), Client::new(address));
    client.send("POST", "/predict", FEATURES);
    wait_for_depth(&mut observer, 1.0);
    program.signal("TERM");
    let answer = client.answer();
    assert_eq!((answer.code, answer.body.as_str()), (503, r#"{"detail":"the server is shutting down"}"#));
    assert_eq!(program.end().await.code(), Some(0));
}

#[tokio::test]
async fn clients_that_leave_are_gone_at_once_and_each_counts_once() {
    let mut program = Program::start(&[
        "--max-batch-size=1000",
        "--max-batch-delay=10m",
        "--queue-limit=1000",
        "--warmup-iterations=1",
    ]);
    let address = program.ready().await;
    let mut observer = Client::new(address);
    let mut clients: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = Client::new(address);
            client.send("POST", "/predict", FEATURES);
            client
        })
        .collect();
    wait_for_depth(&mut observer, 300.0);
    clients.truncate(100);
    wait_for_depth(&mut observer, 100.0);
    clients.clear();
    wait_for_depth(&mut observer, 0.0);
    let metrics = observer.ask("GET", "/metrics", "").body;
    let ended: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("inference_requests_total{")).collect();
    let cancelled = metric(&metrics, r#"inference_requests_total{model="default",outcome="cancelled"}"#);
    assert_eq!(cancelled, 300.0, "{ended:?}");
    let all: f64 = ended.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(all, 300.0, "{ended:?}");
    for gauge in ["inference_requests_waiting", "inference_requests_running"] {
        assert_eq!(metric(&metrics, gauge), 0.0, "{gauge}");
    }
    assert_eq!(metric(&metrics, "request_queue_depth_peak"), 300.0);
}

#[tokio::test]
async fn clients_that_leave_in_the_middle_of_a_body_count_once_too() {
    let mut program = Program::start(&[]);
    let address = program.ready().await;
    for sent in 0..FEATURES.len() {
        let mut client = Client::new(address);
        let head =
            format!("POST /predict HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", FEATURES.len());
        client.0.get_mut().write_all(head.as_bytes()).expect("open");
        client.0.get_mut().write_all(&FEATURES.as_bytes()[..sent]).expect("open");
    }
    let mut observer = Client::new(address);
    let cancelled = r#"inference_requests_total{model="default",outcome="cancelled"}"#;
    wait_for(&mut observer, cancelled, FEATURES.len() as f64);
    let metrics = observer.ask("GET", "/metrics", "").body;
    for gauge in ["request_queue_depth", "inference_requests_waiting", "inference_requests_running"] {
        assert_eq!(metric(&metrics, gauge), 0.0, "{gauge}");
    }
}

#[tokio::test]
async fn clients_that_leave_with_their_request_count_once_too() {
    let mut program = Program::start(&[]);
    let address = program.ready().await;
    let request = format!(
        "POST /predict HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{FEATURES}",
        FEATURES.len()
    );
    for _ in 0..LEAVING {
        Client::new(address).0.get_mut().write_all(request.as_bytes()).expect("open");
    }
    let mut observer = Client::new(address);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = observer.ask("GET", "/metrics", "").body;
        let ended = ["ok", "cancelled"].map(|outcome| {
            metric(&metrics, &format!(r#"inference_requests_total{{model="default",outcome="{outcome}"}}"#))
        });
        if ended.iter().sum::<f64>() == f64::from(LEAVING) {
            break;
        }
        assert!(Instant::now() < deadline, "of {LEAVING}, {ended:?} were answered and cancelled");
    }
}

const LEAVING: u32 = 500;

fn wait_for_depth(client: &mut Client, expected: f64) {
    wait_for(client, "request_queue_depth", expected);
}

fn wait_for(client: &mut Client, series: &str, expected: f64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = client.ask("GET", "/metrics", "").body;
        if metric(&metrics, series) == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{series} is not {expected}:\n{metrics}");
    }
}

#[tokio::test]
async fn a_signal_while_the_model_loads_ends_well() {
    let mut program = Program::start(&["--warmup-iterations=1000000000"]);
    let mut client = Client::new(program.listening("listening address=").await);
    let answer = client.ask("GET", "/health", "");
    assert_eq!((answer.code, answer.body.as_str()), (503, "model not loaded"));
    assert_eq!(client.ask("GET", "/v2/health/live", "").code, 200);
    program.signal("TERM");
    assert_eq!(program.end().await.code(), Some(0));
}

#[tokio::test]
async fn slow_clients_are_not_waited_for() {
    let mut program = Program::start(&["--body-timeout=50ms", "--header-timeout=200ms"]);
    let address = program.ready().await;
    let mut client = Client::new(address);
    let head = "POST /predict HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n{";
    client.0.get_mut().write_all(head.as_bytes()).expect("open");
    let answer = client.answer();
    assert_eq!(
        (answer.code, answer.body.as_str()),
        (408, r#"{"detail":"expected the whole body within 50ms"}"#)
    );
    let mut client = Client::new(address);
    client.0.get_mut().write_all(b"POST /predict HTT").expect("open");
    client.assert_closed();
    let metrics = Client::new(address).ask("GET", "/metrics", "").body;
    let invalid = r#"inference_requests_total{model="default",outcome="invalid"}"#;
    assert_eq!(metric(&metrics, invalid), 1.0);
}

#[tokio::test]
async fn flags_come_from_the_environment_too_and_a_flag_wins() {
    let variables = [
        ("MODEL_SERVER_QUEUE_LIMIT", "7"),
        ("MODEL_SERVER_WORKERS", "3"),
        ("MODEL_SERVER_MODEL_NAME", "iris"),
    ];
    let mut program = Program::start_with(&["--workers=2"], &variables);
    let mut client = Client::new(program.ready().await);
    let metrics = client.ask("GET", "/metrics", "").body;
    assert_eq!(metric(&metrics, "inference_queue_limit"), 7.0);
    assert_eq!(metric(&metrics, "inference_workers"), 2.0);
    assert_eq!(metric(&metrics, r#"model_ready{model="iris",version="1"}"#), 1.0);
    assert_eq!(client.ask("GET", "/v2/models/iris/ready", "").code, 200);
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_model-server")).args(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn bad_flags_are_all_told_and_end_with_64() {
    let (code, _, errors) = run(&["--workers=0", "--max-batch-delay=soon", "--queue-limit=-1"]);
    assert_eq!(code, Some(64));
    for flag in ["--workers", "--max-batch-delay", "--queue-limit"] {
        assert!(errors.contains(&format!("{flag} (MODEL_SERVER_")), "{errors}");
    }
    let (code, _, errors) = run(&["--worker=1"]);
    assert_eq!(code, Some(64));
    assert!(errors.contains("--workers"), "no suggestion in {errors}");
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("MODEL_SERVER_QUEUE_LIMIT") && help.contains("Exit codes"), "{help}");
}

#[test]
fn a_model_that_cannot_be_used_ends_with_2() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model.pt");
    std::fs::write(&path, b"PK\x03\x04").expect("writable");
    let path = path.to_str().expect("text");
    for arguments in [&["--listen=127.0.0.1:0", "--model", path][..], &["check", "--model", path]] {
        let (code, _, errors) = run(arguments);
        assert_eq!(code, Some(2));
        assert!(errors.contains(", found a zip archive that is no model in "), "{errors}");
    }
}

#[test]
fn check_says_what_would_be_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
    for version in ["1", "12"] {
        let folder = dir.path().join("mlp").join(version);
        std::fs::create_dir_all(&folder).expect("writable");
        std::fs::copy(format!("{models}/demo-mlp.onnx"), folder.join("model.onnx")).expect("writable");
    }
    let repository = dir.path().to_str().expect("text");
    let (code, text, errors) =
        run(&["check", "--model-repository", repository, "--model-name=mlp", "--max-batch-size=2"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        text.contains(r#"model "mlp", version 12, by tract on cpu: input "features" FP32 [-1, 768]"#),
        "{text}"
    );
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(": ok"), "{text}");
    for (line, rows) in lines[1..].iter().zip(["  1 row: ", "  2 rows: "]) {
        assert!(line.starts_with(rows) && line.contains(" ms, memory ") && line.ends_with(" MiB"), "{text}");
    }
    assert_eq!(lines.len(), 3, "{text}");
}

#[tokio::test]
async fn a_folder_of_a_repository_with_a_model_and_its_weights_is_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("scaled/3/model.onnx");
    std::fs::create_dir_all(&folder).expect("writable");
    let (content, weights) = onnx::with_weights_beside();
    std::fs::write(folder.join("model.onnx"), content).expect("writable");
    std::fs::write(folder.join("model.onnx.data"), weights).expect("writable");
    let repository = dir.path().to_str().expect("text");
    let mut program = Program::start(&["--model-repository", repository, "--model-name=scaled"]);
    let mut client = Client::new(program.ready().await);
    let answer = client.ask("POST", "/predict", r#"{"features":[1,2]}"#);
    assert!(answer.body.starts_with(r#"{"prediction":[3.0,10.0]"#), "{answer:?}");
    assert_eq!(client.ask("GET", "/v2/models/scaled/versions/3/ready", "").code, 200);
}

#[tokio::test]
async fn a_gpu_that_is_left_unused_is_warned_of() {
    let given = [("NVIDIA_VISIBLE_DEVICES", "all")];
    let warning = Program::start_with(&[], &given).until("cannot use the GPU").await;
    assert!(warning.contains("WARN") && warning.contains("computing on the CPU"), "{warning}");
    let mut told = Program::start_with(&["--device=cpu"], &given);
    told.ready().await;
    let log = told.process.log();
    assert!(!log.contains("cannot use the GPU"), "{log}");
}

#[test]
fn an_address_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, _, errors) = run(&["--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(errors.contains(&format!("cannot serve on {address}")), "{errors}");
}

/// A gzipped body of `/predict` with `items` items, each of them at fault.
fn packed_faults(item: &str, items: usize) -> Vec<u8> {
    let body = format!(r#"{{"features":[{}]}}"#, vec![item; items].join(","));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn small_packed_bodies_full_of_faults_take_little_memory_and_get_small_answers() {
    let mut program = Program::start(&[]);
    let address = program.ready().await;
    for (item, items) in [(r#""""#, 699_040), ("{}", 699_040), ("[[]]", 400_000), ("1", 1_000_000)] {
        let body = packed_faults(item, items);
        assert!(body.len() < 5000, "{} bytes", body.len());
        for path in ["/predict", "/v1/models/default:predict", "/v2/models/default/infer"] {
            let mut client = Client::new(address);
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            client.0.get_mut().write_all(&[head.as_bytes(), &body].concat()).expect("open");
            let answer = client.answer();
            let expected = match path {
                "/predict" if item == "1" => 200,
                "/predict" => 422,
                _ => 400,
            };
            assert_eq!(answer.code, expected, "{path} {item}: {}", answer.body);
            assert!(answer.body.len() < 8192, "{path} {item}: {} bytes", answer.body.len());
        }
    }
    let peak = program.peak_memory();
    assert!(peak < 96 << 20, "{} MiB", peak >> 20);
}

#[tokio::test]
async fn unfinished_bodies_share_their_memory_and_keep_no_client_out() {
    let mut program = Program::start(&["--body-timeout=1m", "--max-body-memory=16777216"]);
    let address = program.ready().await;
    let length = 2_097_152;
    let body = vec![b' '; length - 10];
    let unfinished: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = Client::new(address);
            let head = format!("POST /predict HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
            // Those that find no memory are refused while they send.
            let stream = client.0.get_mut();
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            client
        })
        .collect();
    let mut observer = Client::new(address);
    for _ in 0..100 {
        assert_eq!(observer.ask("POST", "/predict", FEATURES).code, 200);
    }
    let large = format!(r#"{{"features":[{}]}}"#, vec!["0.125"; 768].join(","));
    assert_eq!(observer.ask("POST", "/predict", &large).code, 200);
    let peak = program.peak_memory();
    assert!(peak < 96 << 20, "{} MiB", peak >> 20);
    let refused = r#"inference_bodies_refused_total{reason="no_memory"}"#;
    let metrics = observer.ask("GET", "/metrics", "").body;
    assert!(metric(&metrics, refused) >= 90.0, "{metrics}");
    assert!(metric(&metrics, "inference_body_memory_bytes") <= 16_777_216.0, "{metrics}");
    // While more than half of the memory is taken, bodies have less time than they were promised.
    let deadline = Instant::now() + PATIENCE;
    let held = |metrics: &str| metric(metrics, "inference_body_memory_bytes");
    while held(&observer.ask("GET", "/metrics", "").body) > 8_388_608.0 {
        assert!(Instant::now() < deadline, "unfinished bodies keep their memory");
    }
    drop(unfinished);
    wait_for(&mut observer, "inference_body_memory_bytes", 0.0);
}

#[tokio::test]
async fn half_a_body_does_not_hold_up_the_end() {
    let mut program = Program::start(&["--drain-delay=0", "--drain-timeout=10m", "--body-timeout=10m"]);
    let address = program.ready().await;
    let mut client = Client::new(address);
    let head = "POST /predict HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n{";
    client.0.get_mut().write_all(head.as_bytes()).expect("open");
    wait_for(&mut Client::new(address), "inference_body_memory_bytes", 16_384.0);
    program.signal("TERM");
    let answer = client.answer();
    assert_eq!(
        (answer.code, answer.close, answer.body.as_str()),
        (503, true, r#"{"detail":"the server is shutting down"}"#)
    );
    client.assert_closed();
    assert_eq!(program.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_refused_request_leaves_its_connection_usable() {
    let mut program = Program::start(&[
        "--max-batch-size=2",
        "--max-batch-delay=10m",
        "--queue-limit=1",
        "--max-timeout=0",
    ]);
    let address = program.ready().await;
    let mut waiting = Client::new(address);
    waiting.send("POST", "/predict", FEATURES);
    let mut observer = Client::new(address);
    wait_for_depth(&mut observer, 1.0);
    let body = vec![b' '; 100_000];
    let head = format!("POST /predict HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut client = Client::new(address);
    for _ in 0..2 {
        client.0.get_mut().write_all(head.as_bytes()).expect("open");
        // The answer is there before the body is.
        let answer = client.answer();
        assert_eq!((answer.code, answer.close), (503, false), "{answer:?}");
        client.0.get_mut().write_all(&body).expect("open");
    }
    assert_eq!(client.ask("GET", "/health", "").code, 200);
}

/// A folder with this model in a file, and where that is.
fn model_file(content: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, content).expect("writable");
    let path = path.to_str().expect("text").to_owned();
    (dir, path)
}

#[tokio::test]
async fn requests_that_the_model_cannot_bear_neither_end_its_health_nor_fill_the_log() {
    let (_dir, model) = model_file(&onnx::lookup(0.0));
    let mut program = Program::start(&["--model", &model, "--unhealthy-after=3", "--warmup-iterations=0"]);
    let mut client = Client::new(program.ready().await);
    let logged = program.process.log().len();
    for number in 0..50 {
        let body = r#"{"features":[1,99]}"#;
        let answer = client.ask_with("POST", "/predict", "x-request-id: request-7\r\n", body);
        // Whose fault it is is known when the model computed the warm-up input.
        let expected = if number < 3 {
            (500, r#"{"detail":"the model failed on this request"}"#)
        } else {
            (
                400,
                r#"{"detail":"the model refuses the inputs: expected indices from -5 to 4 for the operator Gather \"y\", found 99"}"#,
            )
        };
        assert_eq!((answer.code, answer.body.as_str()), expected);
    }
    for path in ["/health", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(client.ask("GET", path, "").code, 200, "{path}");
    }
    let answer = client.ask("POST", "/predict", r#"{"features":[1,4]}"#);
    assert!(answer.body.starts_with(r#"{"prediction":[11.0,14.0]"#), "{answer:?}");
    program.signal("TERM");
    program.until("draining").await;
    let log = program.process.log();
    let lines: Vec<&str> = log[logged..].lines().collect();
    let told = |line: &&str| line.contains("the model failed on a request") && line.contains("request-7");
    assert!(lines.iter().any(told), "{lines:?}");
    assert!(lines.len() < 20, "{} lines: {}", lines.len(), lines.join("\n"));
}

#[tokio::test]
async fn a_model_that_fails_on_everything_makes_its_server_neither_ready_nor_live() {
    let (_dir, model) = model_file(&onnx::lookup(1000.0));
    let mut program = Program::start(&["--model", &model, "--warmup-iterations=0"]);
    let mut client = Client::new(program.ready().await);
    for failures in 0..10 {
        assert_eq!(client.ask("GET", "/health", "").code, 200, "after {failures} failures");
        assert_eq!(client.ask("POST", "/predict", r#"{"features":[1,2]}"#).code, 500);
    }
    program.until("the model fails on every request and on the warm-up input").await;
    let reason = "the model fails on every request and on the warm-up input";
    let health = client.ask("GET", "/health", "");
    assert_eq!((health.code, health.body.as_str()), (503, reason));
    let live = client.ask("GET", "/v2/health/live", "");
    assert_eq!((live.code, live.body), (503, format!(r#"{{"live":false,"reason":"{reason}"}}"#)));
    let metrics = client.ask("GET", "/metrics", "").body;
    assert_eq!(metric(&metrics, r#"model_ready{model="default",version="1"}"#), 0.0);
    assert_eq!(metric(&metrics, r#"model_failed{model="default",reason="failing",version="1"}"#), 1.0);
    assert_eq!(metric(&metrics, r#"model_failed{model="default",reason="device_lost",version="1"}"#), 0.0);
}

#[tokio::test]
async fn the_largest_batch_that_memory_allows_is_used() {
    // 1 MiB a row and layer.
    let (_dir, model) = model_file(&onnx::greedy(1 << 18));
    let limit = 112 << 20;
    let mut program = Program::start(&[
        "--model",
        &model,
        "--max-batch-size=256",
        &format!("--max-memory={limit}"),
        "--warmup-iterations=1",
    ]);
    let mut client = Client::new(program.ready().await);
    let peak = program.peak_memory();
    assert!(peak <= limit, "{} MiB", peak >> 20);
    let metrics = client.ask("GET", "/metrics", "").body;
    let rows = metric(&metrics, "inference_max_batch_size");
    assert!((2.0..=64.0).contains(&rows), "{rows} rows");
    let config = client.ask("GET", "/v2/models/default/config", "").body;
    assert!(config.contains(&format!(r#""max_batch_size":{rows}"#)), "{config}");
    let answer = client.ask(
        "POST",
        "/v1/models/default:predict",
        &format!("{{\"instances\":[{}[1]]}}", "[1],".repeat(99)),
    );
    assert_eq!(
        (answer.code, answer.body),
        (400, format!(r#"{{"error":"expected 1 to {rows} instances, found 100"}}"#))
    );
    let log = program.process.log();
    assert!(log.contains("would take too much memory"), "{log}");
}

#[test]
fn a_model_that_takes_no_zeros_is_warmed_with_the_request_of_a_file() {
    let (dir, model) = model_file(&onnx::lookup(-10.0));
    let (code, _, errors) = run(&["check", "--model", &model]);
    assert_eq!(code, Some(2), "{errors}");
    let expected = format!(
        "{model} cannot be warmed up: expected indices from -5 to 4 for the operator Gather \"y\", found -10"
    );
    assert!(errors.contains(&expected), "{errors}");
    let path = dir.path().join("row.json");
    let path = path.to_str().expect("text");
    let check = |row: &str| {
        let input = format!(r#"{{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": {row}}}"#);
        std::fs::write(path, format!(r#"{{"inputs": [{input}]}}"#)).expect("writable");
        run(&["check", "--model", &model, "--warmup-input", path, "--max-batch-size=4"])
    };
    let (code, text, errors) = check("[10, 14]");
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(text.lines().count(), 4, "{text}");
    for (row, expected) in [
        ("[10, 15]", format!("{model} cannot be warmed up: ")),
        ("[10]", format!("cannot use the warm-up input {path}: expected 2 values of input \"x\", found 1")),
    ] {
        let (code, _, errors) = check(row);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains(&expected), "no {expected:?} in {errors}");
    }
}

#[test]
fn a_model_that_takes_more_memory_than_there_may_be_is_refused_by_name() {
    // A row takes 256 MiB.
    let (_dir, model) = model_file(&onnx::wide(1 << 26));
    let limit = format!("--max-memory={}", 150 << 20);
    for arguments in
        [&["--listen=127.0.0.1:0", "--model", &model, &limit][..], &["check", "--model", &model, &limit]]
    {
        let (code, _, errors) = run(arguments);
        assert_eq!(code, Some(2), "{errors}");
        let expected =
            format!("cannot load and warm {model}: it takes more memory than there may be; exiting");
        assert!(errors.contains(&expected) && errors.contains("150 MiB (--max-memory)"), "{errors}");
    }
}

#[test]
fn a_model_whose_files_are_larger_than_memory_may_be_is_refused_before_it_is_loaded() {
    let dir = tempfile::tempdir().expect("a folder");
    let (content, _) = onnx::with_weights_beside();
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, content).expect("writable");
    let weights = std::fs::File::create(dir.path().join("model.onnx.data")).expect("writable");
    weights.set_len(3 << 30).expect("a file with a hole");
    let path = path.to_str().expect("text");
    let (code, _, errors) = run(&["check", "--model", path, &format!("--max-memory={}", 1 << 30)]);
    assert_eq!(code, Some(2), "{errors}");
    let expected = format!(
        "expected a model of at most 1.0 GiB (--max-memory), found 3.0 GiB in {path} and the files of its weights"
    );
    assert!(errors.contains(&expected), "{errors}");
}

#[tokio::test]
async fn wide_inputs_that_wait_share_the_memory_of_bodies() {
    // Everything waits for a batch that does not fill. A row is 512 KiB, and less than 1 KiB on the way.
    let (_dir, model) = model_file(&onnx::wide(1 << 17));
    let mut program = Program::start(&[
        "--model",
        &model,
        "--max-batch-size=256",
        "--max-batch-delay=10m",
        "--max-timeout=0",
        "--warmup-iterations=0",
        "--max-body-memory=16777216",
    ]);
    let address = program.listening("listening address=").await;
    program.until("--max-body-memory does not hold --queue-limit inputs").await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 4 << 17]).expect("memory");
    let body = encoder.finish().expect("memory");
    let head = format!(
        "POST /v2/models/default/infer HTTP/1.1\r\nhost: test\r\ncontent-encoding: gzip\r\n\
         inference-header-content-length: 0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let clients: Vec<Client> = (0..40)
        .map(|_| {
            let mut client = Client::new(address);
            client.0.get_mut().write_all(&[head.as_bytes(), &body].concat()).expect("open");
            client
        })
        .collect();
    let mut observer = Client::new(address);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = observer.ask("GET", "/metrics", "").body;
        let waiting = metric(&metrics, "inference_requests_waiting");
        let refused = metric(&metrics, r#"inference_requests_total{model="default",outcome="rejected"}"#);
        // Three quarters of the memory are for them, and one that arrives needs room for its body first.
        assert!(waiting <= 24.0, "{waiting} are waiting");
        if waiting + refused == 40.0 {
            assert!(waiting >= 20.0, "{waiting} are waiting");
            break;
        }
        assert!(Instant::now() < deadline, "{waiting} are waiting, {refused} were refused");
    }
    let peak = program.peak_memory();
    assert!(peak < 96 << 20, "{} MiB", peak >> 20);
    drop(clients);
}
