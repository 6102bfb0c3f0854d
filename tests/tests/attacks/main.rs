//! What clients and sources without manners do to both programs. Each keeps the memory that its manifest gives it, its
//! health and its answers to others; the figures are in `target/reports/attacks-*.json`.

mod cluster;
mod model;
mod standalone;
mod watch;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use e2e::{Failure, stack};
use futures_util::future::join_all;
use reqwest::{Client, ClientBuilder};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use self::watch::Row;

/// The attacks on one program, judged together: one fault does not hide the others.
struct Attacks {
    rows: Vec<Row>,
    faults: Vec<String>,
    limit_bytes: u64,
}

impl Attacks {
    fn new(limit_bytes: u64) -> Attacks {
        println!("{}", Row::HEAD);
        Attacks { rows: Vec::new(), faults: Vec::new(), limit_bytes }
    }

    fn add(&mut self, row: Row) {
        println!("{}", row.text());
        self.faults.extend(row.faults(self.limit_bytes));
        self.rows.push(row);
    }

    fn expect(&mut self, what: &str, found: bool) {
        if !found {
            self.faults.push(format!("expected: {what}"));
        }
    }

    /// Writes the report and fails on any fault.
    fn judge(self, report: &str) -> Result<(), Failure> {
        let rows: Vec<_> = self.rows.iter().map(Row::report).collect();
        stack::write_report(report, &json!({"limit_bytes": self.limit_bytes, "attacks": rows}))?;
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults.join("\n").into()) }
    }
}

/// How often each answer came.
type Answers = BTreeMap<String, usize>;

/// Has many clients do the same concurrently. A client that fails counts by its failure.
async fn many(count: usize, client: impl AsyncFn(usize) -> Result<String, Failure>) -> Answers {
    let mut answers = Answers::new();
    for answer in join_all((0..count).map(|number| client(number))).await {
        *answers.entry(answer.unwrap_or_else(|error| error.to_string())).or_default() += 1;
    }
    answers
}

/// A client as a kubelet: each request has a connection of its own.
fn kubelet() -> Result<Client, Failure> {
    Ok(trusting().pool_max_idle_per_host(0).http1_only().build()?)
}

/// A client that trusts every server: these tests are about what servers take.
fn trusting() -> ClientBuilder {
    Client::builder().tls_danger_accept_invalid_certs(true)
}

/// Lets this program open as many connections as the attacks need, and keeps other tests of this file waiting: what one
/// server is made to do would slow down another.
async fn prepare() -> Result<MutexGuard<'static, ()>, Failure> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let files = rlimit::increase_nofile_limit(8192)?;
    if files < 8192 {
        return Err(format!("expected 8192 open files to be allowed, found {files}").into());
    }
    Ok(ALONE.lock().await)
}

/// Another address than that of callers with manners.
const ATTACKERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const MIB: u64 = 1 << 20;
const MINUTE: Duration = Duration::from_mins(1);
