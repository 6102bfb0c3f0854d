//! The program itself, in surroundings that a test cannot change for its own process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::server::{Server, answer, good};
use crate::tls::{Issuer, server_config};

const RULES: &str =
    "rules: [{seriesQuery: depth, resources: {template: <<.Resource>>}, metricsQuery: depth}]";

/// A running program; ended when dropped.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Starts it on a machine without certificates of authorities.
    fn start(dir: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Program {
        std::fs::write(dir.join("rules.yaml"), RULES).expect("writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_adapter"))
            .args(["--standalone", "--secure-port=0"])
            .arg(format!("--standalone-dir={}", dir.display()))
            .arg(format!("--config={}", dir.join("rules.yaml").display()))
            .args(flags)
            .env("SSL_CERT_FILE", dir.join("absent"))
            .env_remove("SSL_CERT_DIR")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let (sender, lines) = channel();
        let errors = BufReader::new(child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Program { child, lines }
    }

    /// Waits for a line with a text in it.
    fn wait(&self, text: &str) {
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains(text)) {
            let line = self.lines.recv_timeout(Duration::from_mins(1));
            seen.push(line.unwrap_or_else(|_| panic!("{text} is not in {seen:#?}")));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A good answer to a listing without series.
fn none() -> crate::server::Reply {
    answer(200, &[], r#"{"status":"success","data":[]}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authorities_on_the_machine_only_https_fails() {
    let dir = tempfile::tempdir().expect("a folder");
    let plain = Server::plain(|_| none()).await;
    // What is on loopback is behind no proxy.
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:1"), ("HTTPS_PROXY", "http://127.0.0.1:1")];
    let url = format!("--prometheus-url=http://localhost:{}", plain.port());
    let program = Program::start(dir.path(), &[&url], &proxy);
    program.wait("serving");
    while plain.take().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(program);
    let issuer = Issuer::new();
    let server = Server::tls(server_config(&issuer.server("localhost")), |_| good()).await;
    let url = format!("--prometheus-url=https://localhost:{}", server.port());
    let program = Program::start(dir.path(), &[&url], &proxy);
    program.wait(&format!(
        "cannot reach Prometheus at https://localhost:{}: this machine has no certificates of authorities",
        server.port()
    ));
    drop(program);
    let ca = format!("--prometheus-ca-file={}", issuer.file(dir.path()).display());
    let program = Program::start(dir.path(), &[&url, &ca], &proxy);
    program.wait("serving");
    while server.take().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(program);
    let target = format!("--scrape-target=pod=a@http://127.0.0.1:{}/metrics", plain.port());
    let program = Program::start(dir.path(), &[&target], &proxy);
    program.wait("serving");
    while plain.take().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(program);
    let program = Program::start(dir.path(), &["--scrape-target=pod=a@https://127.0.0.1:1/metrics"], &[]);
    program.wait("cannot load the certificates of this machine's authorities; scrapes by HTTPS will fail");
    program.wait("serving");
}

#[test]
fn what_gives_no_access_to_prometheus_is_refused_as_wrong_usage() {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = dir.path().join("ca.crt");
    std::fs::write(&ca, "no certificate").expect("writable");
    for (flag, expected) in [
        (
            format!("--prometheus-ca-file={}", ca.display()),
            "expected PEM certificates in --prometheus-ca-file (",
        ),
        (
            "--prometheus-token-file=/absent".to_owned(),
            "cannot read --prometheus-token-file (/absent): No such file",
        ),
        ("--prometheus-auth-config=/absent".to_owned(), "--prometheus-auth-config (/absent): No such file"),
    ] {
        let mut program = Program::start(dir.path(), &["--prometheus-url=http://127.0.0.1:1", &flag], &[]);
        program.wait(expected);
        assert_eq!(program.child.wait().expect("it ends").code(), Some(64), "{flag}");
    }
}
