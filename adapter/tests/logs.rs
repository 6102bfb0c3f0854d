//! The program's log, read from its standard error: a line for each request, causes of failures, and no secret.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use base64::Engine as _;
use reqwest::{Certificate, Client, Identity};
use serde_json::Value;
use testkit::kubeconfig::Kubeconfig;
use testkit::process::Process;
use testkit::router::{self, closed_address};
use testkit::rows::{each_row, each_row_async};
use testkit::wait::PATIENCE;

const RULES: &str = "
rules:
- seriesQuery: depth
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
";
const METRIC: &str = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/a/depth";
const FAILURE: (StatusCode, &str) = (
    StatusCode::UNPROCESSABLE_ENTITY,
    r#"{"status":"error","errorType":"execution","error":"the storage is on fire"}"#,
);
/// Everything that must not be in a log.
const SECRETS: [&str; 7] = [
    "metrics-user-secret",
    "metrics-password-secret",
    "query-secret",
    "header-secret",
    "token-file-secret",
    "caller-token-secret",
    "scrape-password-secret",
];

/// A running program.
struct Program {
    process: Process,
    url: String,
    client: Client,
}

impl Program {
    async fn start(dir: &Path, flags: &[&str]) -> Program {
        std::fs::write(dir.join("rules.yaml"), RULES).expect("writable");
        std::fs::write(dir.join("token"), "token-file-secret").expect("writable");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut command = Command::new(env!("CARGO_BIN_EXE_adapter"));
        command
            .args(["--standalone", "--secure-port=0", "--prometheus-header=X-Api-Key=header-secret"])
            .arg(format!("--standalone-dir={}", dir.display()))
            .arg(format!("--config={}", dir.join("rules.yaml").display()))
            .arg(format!("--prometheus-token-file={}", dir.join("token").display()))
            .args(flags);
        let mut process = Process::start_command("adapter", command, dir).expect("the program was built");
        process.wait_for_line("kubeconfig", PATIENCE).await.expect("it serves");
        let Kubeconfig { server, authority, certificate, key } =
            Kubeconfig::read(&dir.join("kubeconfig")).expect("written before it is logged");
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(&authority).expect("PEM")])
            .identity(Identity::from_pem(&[certificate, key].concat()).expect("PEM"))
            .build()
            .expect("a client");
        Program { process, url: server, client }
    }

    /// Waits for a line with a text in it, unless there was one.
    async fn wait(&mut self, text: &str) {
        self.process.wait_for_line(text, PATIENCE).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn get(&self, path: &str) -> u16 {
        let request = self.client.get(format!("{}{path}", self.url)).header("user-agent", "kubectl/v1.33");
        let request = request.header("audit-id", "b1946ac9").bearer_auth("caller-token-secret");
        request.send().await.expect("an answer").status().as_u16()
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        answer.text().await.expect("a text")
    }

    /// Until the first listing is done there is 503.
    async fn get_listed(&self, path: &str) -> u16 {
        loop {
            let code = self.get(path).await;
            if code != 503 {
                return code;
            }
        }
    }

    /// Ends it; every line that it wrote.
    fn end(mut self) -> Vec<String> {
        self.process.kill();
        self.process.log().lines().map(str::to_owned).collect()
    }
}

fn without_secrets(lines: &[String]) {
    assert!(!lines.is_empty());
    for secret in SECRETS {
        let found: Vec<_> = lines.iter().filter(|line| line.contains(secret)).collect();
        assert!(found.is_empty(), "{secret} is in {found:#?}");
    }
    // Credentials in base64 must not show either.
    let basic =
        base64::engine::general_purpose::STANDARD.encode("metrics-user-secret:metrics-password-secret");
    assert!(!lines.iter().any(|line| line.contains(&basic) || line.to_lowercase().contains("bearer")));
}

/// Lists a series, and answers every query alike; only for a caller with the given credentials.
async fn prometheus(answer: (StatusCode, &'static str)) -> u16 {
    let known = |headers: &HeaderMap| {
        // The user in the URL comes before the token file.
        let user =
            base64::engine::general_purpose::STANDARD.encode("metrics-user-secret:metrics-password-secret");
        headers.get("x-api-key").is_some_and(|key| key == "header-secret")
            && headers.get_all("authorization").iter().eq([&format!("Basic {user}")])
    };
    let series = move |headers: HeaderMap| async move {
        assert!(known(&headers), "{headers:?}");
        r#"{"status":"success","data":[{"__name__":"depth","namespace":"default","pod":"a"}]}"#
    };
    let query = get(async move || answer);
    let router = Router::new().route("/api/v1/series", get(series)).route("/api/v1/query", query);
    router::serve(router).await.port()
}

fn prometheus_at(port: u16) -> String {
    format!(
        "--prometheus-url=http://metrics-user-secret:metrics-password-secret@127.0.0.1:{port}/?key=query-secret"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_answer_lacks_is_said_once() {
    let port = prometheus((
        StatusCode::OK,
        r#"{"status":"success","warnings":["a store did not answer"],"data":{"resultType":"vector","result":[
            {"metric":{"pod":"a"},"value":[1764000000,"+Inf"]}]}}"#,
    ))
    .await;
    let dir = tempfile::tempdir().expect("a folder");
    let program = Program::start(dir.path(), &[&prometheus_at(port)]).await;
    let code = program.get_listed(METRIC).await;
    for _ in 0..3 {
        assert_eq!(program.get(METRIC).await, code);
    }
    let lines = program.end();
    each_row(["the sample of a is +Inf", "a store did not answer"], |text| {
        let said: Vec<_> = lines.iter().filter(|line| line.contains("WARN") && line.contains(text)).collect();
        assert_eq!(said.len(), 1, "{text}: {lines:#?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_causes_show_and_secrets_do_not() {
    let port = prometheus(FAILURE).await;
    each_row_async(["text", "json"], async |format| {
        let dir = tempfile::tempdir().expect("a folder");
        let format_flag = format!("--logging-format={format}");
        let program = Program::start(dir.path(), &[&prometheus_at(port), &format_flag, "-v=10"]).await;
        assert_eq!(program.get_listed(METRIC).await, 500);
        for _ in 0..3 {
            assert_eq!(program.get(&METRIC.replace("depth", "dept")).await, 404);
            assert_eq!(program.get(&METRIC.replace("pods", "podz")).await, 404);
        }
        let lines = program.end();
        without_secrets(&lines);
        // Said once, whatever is asked how often.
        let missing: Vec<_> = lines.iter().filter(|line| line.contains("metric not found")).collect();
        assert_eq!(missing.len(), 2, "{missing:#?}");
        for (line, parts) in missing.iter().zip([
            ["namespaces/default/pods/a/dept", "no rule produces dept for pods; did you mean depth"],
            ["namespaces/default/podz/a/depth", "resource podz not found; did you mean pods"],
        ]) {
            assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} are not in {line}");
        }
        let failed = lines.iter().find(|line| line.contains("query failed")).expect("a line for the failure");
        for part in ["rules[0]", "the storage is on fire", "max(depth{"] {
            assert!(failed.contains(part), "{part} is not in {failed}");
        }
        let is_request = |line: &&String| {
            line.contains("HTTP") && (line.contains("resp=500") || line.contains("\"resp\":500"))
        };
        let request = lines.iter().find(is_request).expect("a line for the request");
        let parts = if format == "json" {
            let line: Value = serde_json::from_str(request).expect("an object a line");
            assert_eq!(
                (&line["message"], &line["verb"], &line["resp"]),
                (&"HTTP".into(), &"GET".into(), &500.into())
            );
            [METRIC, "kubectl/v1.33", "b1946ac9", "\"latency\":", "\"srcIP\":\"127.0.0.1:"]
        } else {
            assert!(request.contains("HTTP verb=GET") && request.contains("resp=500"), "{request}");
            [METRIC, "userAgent=\"kubectl/v1.33\"", "audit-ID=\"b1946ac9\"", "latency=", "srcIP=127.0.0.1:"]
        };
        for part in parts {
            assert!(request.contains(part), "{part} is not in {request}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_do_not_show_without_an_answer() {
    let port = closed_address().port();
    let dir = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(dir.path(), &[&prometheus_at(port), "-v=10"]).await;
    program.wait("series query failed").await;
    assert_eq!(program.get(METRIC).await, 503);
    without_secrets(&program.end());
    let target = format!(
        "--scrape-target=namespace=default,pod=a@http://me:scrape-password-secret@127.0.0.1:{port}/metrics"
    );
    let mut program = Program::start(dir.path(), &[&target, "-v=10"]).await;
    program.wait("scrape failed").await;
    without_secrets(&program.end());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_show_from_level_three_on() {
    let port = prometheus(FAILURE).await;
    each_row_async([("-v=2", false), ("--v=3", true)], async |(flag, shown)| {
        let dir = tempfile::tempdir().expect("a folder");
        let program = Program::start(dir.path(), &[&prometheus_at(port), flag]).await;
        // The line is written before the answer is.
        assert_eq!(program.get("/version").await, 200);
        let lines = program.end();
        let line = lines.iter().any(|line| line.contains("HTTP verb=GET URI=\"/version\""));
        assert_eq!(line, shown, "{flag}: {lines:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_away_shows_and_is_logged_when_it_answers_again() {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let series = get(async move || {
        if is_away.load(Ordering::Relaxed) {
            (StatusCode::BAD_GATEWAY, "no upstream")
        } else {
            (StatusCode::OK, r#"{"status":"success","data":[]}"#)
        }
    });
    let port = router::serve(Router::new().route("/api/v1/series", series)).await.port();
    let dir = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(dir.path(), &[&prometheus_at(port)]).await;
    program.wait("series query failed").await;
    let state = program.text("/readyz?verbose").await;
    assert!(
        state.contains("\n[+]source ok: no answer since 2") && state.contains("(unavailable)\n"),
        "{state}"
    );
    away.store(false, Ordering::Relaxed);
    program.wait("metric source recovered after").await;
    let state = program.text("/readyz?verbose").await;
    assert!(state.contains("\n[+]source ok\n"), "{state}");
    without_secrets(&program.end());
}
