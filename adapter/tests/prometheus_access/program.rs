//! The program itself, in surroundings that a test cannot change for its own process.

use std::path::Path;
use std::process::Command;

use testkit::process::Process;
use testkit::rows::each_row_async;
use testkit::scripted::{Reply, Server, answer};
use testkit::wait::{PATIENCE, until};

use crate::good;
use crate::tls::{Issuer, server_config};

const RULES: &str =
    "rules: [{seriesQuery: depth, resources: {template: <<.Resource>>}, metricsQuery: depth}]";

/// Starts it on a machine without certificates of authorities.
fn start(dir: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Process {
    std::fs::write(dir.join("rules.yaml"), RULES).expect("writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_adapter"));
    command
        .args(["--standalone", "--secure-port=0"])
        .arg(format!("--standalone-dir={}", dir.display()))
        .arg(format!("--config={}", dir.join("rules.yaml").display()))
        .args(flags)
        .env("SSL_CERT_FILE", dir.join("absent"))
        .env_remove("SSL_CERT_DIR")
        .envs(environment.iter().copied());
    Process::start_command("adapter", command, dir).expect("the program was built")
}

/// Waits for a line with a text in it.
async fn logged(program: &mut Process, text: &str) {
    program.wait_for_line(text, PATIENCE).await.unwrap_or_else(|error| panic!("{error}"));
}

/// A good answer to a listing without series.
fn none() -> Reply {
    answer(200, &[], r#"{"status":"success","data":[]}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authorities_on_the_machine_only_https_fails() {
    let dir = tempfile::tempdir().expect("a folder");
    let plain = Server::plain(|_| none()).await;
    // What is on loopback is behind no proxy.
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:1"), ("HTTPS_PROXY", "http://127.0.0.1:1")];
    let url = format!("--prometheus-url=http://localhost:{}", plain.port());
    let mut program = start(dir.path(), &[&url], &proxy);
    logged(&mut program, "serving").await;
    until("a request", || !plain.take().is_empty()).await;
    drop(program);
    let issuer = Issuer::new();
    let server = Server::tls(server_config(&issuer.server("localhost")), |_| good()).await;
    let url = format!("--prometheus-url=https://localhost:{}", server.port());
    let mut program = start(dir.path(), &[&url], &proxy);
    let unknown = "this machine has no certificates of authorities";
    let text = format!("cannot reach Prometheus at https://localhost:{}: {unknown}", server.port());
    logged(&mut program, &text).await;
    drop(program);
    let ca = format!("--prometheus-ca-file={}", issuer.file(dir.path()).display());
    let mut program = start(dir.path(), &[&url, &ca], &proxy);
    logged(&mut program, "serving").await;
    until("a request", || !server.take().is_empty()).await;
    drop(program);
    let target = format!("--scrape-target=pod=a@http://127.0.0.1:{}/metrics", plain.port());
    let mut program = start(dir.path(), &[&target], &proxy);
    logged(&mut program, "serving").await;
    until("a request", || !plain.take().is_empty()).await;
    drop(program);
    let mut program = start(dir.path(), &["--scrape-target=pod=a@https://127.0.0.1:1/metrics"], &[]);
    logged(&mut program, "cannot load the CA certificates of this machine; scrapes over HTTPS will fail")
        .await;
    logged(&mut program, "serving").await;
}

#[tokio::test]
async fn what_gives_no_access_to_prometheus_is_refused_as_wrong_usage() {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = dir.path().join("ca.crt");
    std::fs::write(&ca, "no certificate").expect("writable");
    let rows = [
        (
            format!("--prometheus-ca-file={}", ca.display()),
            "expected PEM certificates in --prometheus-ca-file (",
        ),
        (
            "--prometheus-token-file=/absent".to_owned(),
            "cannot read --prometheus-token-file (/absent): No such file",
        ),
        ("--prometheus-auth-config=/absent".to_owned(), "--prometheus-auth-config (/absent): No such file"),
    ];
    each_row_async(rows, async |(flag, expected)| {
        let mut program = start(dir.path(), &["--prometheus-url=http://127.0.0.1:1", &flag], &[]);
        logged(&mut program, expected).await;
        assert_eq!(program.wait(PATIENCE).await.expect("it ends").code(), Some(64), "{flag}");
    })
    .await;
}
