//! What clients can do to the adapter: many concurrent requests, and everything that no well-behaved client does. It
//! goes on answering, takes little memory and gives all of it back; the figures are in `target/reports/load.json`.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::api::Api;
use e2e::signals::Signals;
use e2e::stack::{self, Adapter};
use e2e::{Failure, until};
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::kubeconfig::Kubeconfig;
use testkit::wire::target::{Stream, Target};
use testkit::wire::tls::{self, Identity, Trust};
use testkit::wire::{Raw, frame, request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

const DEPTH: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_queue_depth";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clients_do_it_answers_on_and_stays_small() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir()?;
    let signals = Signals::start().await;
    signals.set("request_queue_depth 3\n");
    let address = signals.target().address;
    let targets: Vec<String> = (0..PODS)
        .map(|pod| format!("--scrape-target=namespace=default,pod=model-{pod}@http://{address}/metrics"))
        .collect();
    let adapter = stack::start_adapter(&targets, dir.path()).await?;
    until("a value for every pod", MINUTE, || async {
        let (code, list) = adapter.api.get(DEPTH).await?;
        Ok(code == 200 && list["items"].as_array().map(Vec::len) == Some(PODS))
    })
    .await?;
    let server = Server::of(&adapter)?;

    let mut rows = Vec::new();
    let mut add = |row: Row| {
        println!("{}", row.text());
        rows.push(row);
    };
    println!("{HEAD}");
    add(measured("400 concurrent requests, HTTP/2", &adapter, many_http2(&adapter)).await?);
    add(measured("400 concurrent requests, HTTP/1.1", &adapter, many_http1(&server)).await?);
    add(measured("400 heads that never end", &adapter, slow_heads(&server)).await?);
    add(measured("400 bodies that never end", &adapter, slow_bodies(&server)).await?);
    add(measured("100 clients that take no answer", &adapter, untaken(&server)).await?);
    add(measured("900 handshakes that never end", &adapter, half_open(&server)).await?);
    add(measured("400 heads of 256 KiB that never end", &adapter, long_heads(&server)).await?);
    add(measured("400 packed heads that never end", &adapter, packed_heads(&server)).await?);
    add(measured("1,600 packed heads of one frame", &adapter, one_frame_heads(&server)).await?);
    add(measured("1,200 strangers that stay", &adapter, strangers(&server)).await?);
    add(measured("100 paths of 128 KiB", &adapter, long_paths(&server)).await?);
    add(measured("20 floods of resets", &adapter, resets(&server)).await?);
    add(measured("20 floods of CONTINUATION", &adapter, continuations(&server)).await?);
    let report: Vec<Value> = rows.iter().map(Row::report).collect();
    stack::write_report("load", &json!(report))?;

    for row in &rows {
        row.judge();
    }
    Ok(())
}

/// How often each came.
type Answers = BTreeMap<String, usize>;

/// What one thing that clients do came to.
struct Row {
    what: &'static str,
    resident_bytes: [u64; 3],
    open_files: [usize; 3],
    answers: Answers,
    /// Answers to somebody else meanwhile, over a connection that was there before.
    others: Answers,
}

/// Has clients do something, while somebody else goes on asking.
async fn measured(
    what: &'static str,
    adapter: &Adapter,
    clients: impl Future<Output = Result<Answers, Failure>>,
) -> Result<Row, Failure> {
    let resident = || adapter.process.resident_bytes().ok_or_else(|| format!("{what}: the adapter ended"));
    let files = || adapter.process.open_files().ok_or_else(|| format!("{what}: the adapter ended"));
    let (resident_before, files_before) = (resident()?, files()?);
    let (mut resident_peak, mut files_peak) = (resident_before, files_before);
    let mut others = Answers::new();
    let mut looks = tokio::time::interval(LOOK);
    let answers = {
        tokio::pin!(clients);
        loop {
            tokio::select! {
                answers = &mut clients => break answers?,
                _ = looks.tick() => {
                    resident_peak = resident_peak.max(resident()?);
                    files_peak = files_peak.max(files()?);
                    let code = adapter.api.text(DEPTH).await?.0;
                    *others.entry(code.to_string()).or_default() += 1;
                }
            }
        }
    };
    // A server that was kept busy to the end answers now.
    let code = adapter.api.text(DEPTH).await?.0;
    *others.entry(code.to_string()).or_default() += 1;
    until("what clients left open is closed", MINUTE * 2, || async {
        Ok(files()? <= files_before + SPARE_FILES)
    })
    .await
    .map_err(|error| format!("{what}: {error}"))?;
    Ok(Row {
        what,
        resident_bytes: [resident_before, resident_peak, resident()?],
        open_files: [files_before, files_peak, files()?],
        answers,
        others,
    })
}

impl Row {
    fn text(&self) -> String {
        let [before, peak, after] = self.resident_bytes.map(|bytes| bytes as f64 / MIB);
        let [files_before, files_peak, files_after] = self.open_files;
        format!(
            "{:36} {before:7.1} {peak:7.1} {after:7.1}   {files_before:5} {files_peak:5} {files_after:5}   {:?}; others {:?}",
            self.what, self.answers, self.others
        )
    }

    fn report(&self) -> Value {
        let [before, peak, after] = self.resident_bytes;
        let [files_before, files_peak, files_after] = self.open_files;
        json!({
            "what": self.what,
            "resident_bytes": {"before": before, "peak": peak, "after": after},
            "open_files": {"before": files_before, "peak": files_peak, "after": files_after},
            "answers": self.answers,
            "answers_to_others": self.others,
        })
    }

    fn judge(&self) {
        let grown = self.resident_bytes[1].saturating_sub(self.resident_bytes[0]);
        assert!(grown < MOST_GROWTH, "{}: {grown} bytes more in memory", self.what);
        let others: Vec<&String> = self.others.keys().collect();
        assert_eq!(others, ["200"], "{}: others are answered as ever", self.what);
    }
}

/// The adapter as clients without manners see it, who may do anything.
struct Server {
    target: Target,
    identity: Identity,
    /// Concurrent handshakes: more would take a small machine longer than the server gives them.
    shaking_hands: Semaphore,
}

impl Server {
    fn of(adapter: &Adapter) -> Result<Server, Failure> {
        let Kubeconfig { server, authority, certificate, key } = Kubeconfig::read(&adapter.kubeconfig)?;
        let port = server.rsplit(':').next().ok_or("no port")?.parse()?;
        Ok(Server {
            target: Target::tls(port, Trust::Roots(tls::roots(&authority)?)),
            identity: Identity::from_pem(&certificate, &key)?,
            shaking_hands: Semaphore::new(8),
        })
    }

    async fn raw(&self, protocol: &str) -> Result<Raw<Box<dyn Stream>>, Failure> {
        let _place = self.shaking_hands.acquire().await?;
        self.target.open(protocol, Some(&self.identity)).await
    }
}

async fn counted(
    clients: impl IntoIterator<Item = impl Future<Output = Result<String, Failure>>>,
) -> Result<Answers, Failure> {
    let mut answers = Answers::new();
    for answer in join_all(clients).await {
        *answers.entry(answer?).or_default() += 1;
    }
    Ok(answers)
}

async fn many_http2(adapter: &Adapter) -> Result<Answers, Failure> {
    // A client has one connection, of a hundred concurrent streams.
    let clients: Vec<Api> =
        (0..4).map(|_| Api::from_kubeconfig(&adapter.kubeconfig)).collect::<Result<_, _>>()?;
    let answers = counted((0..400).map(|number| {
        let client = clients[number % 4].clone();
        async move { Ok(client.text(DEPTH).await?.0.to_string()) }
    }))
    .await?;
    assert_eq!(answers, Answers::from([("200".to_owned(), 400)]));
    Ok(answers)
}

async fn many_http1(server: &Server) -> Result<Answers, Failure> {
    let answers = counted((0..400).map(|_| async {
        let mut raw = server.raw("http/1.1").await?;
        raw.write(request(DEPTH, "Connection: close\r\n").as_bytes()).await;
        Ok(raw.code().await)
    }))
    .await?;
    assert_eq!(answers, Answers::from([("200".to_owned(), 400)]));
    Ok(answers)
}

async fn slow_heads(server: &Server) -> Result<Answers, Failure> {
    let answers = counted((0..400).map(|_| async {
        let mut raw = server.raw("http/1.1").await?;
        raw.write(b"GET / HTTP/1.1\r\nHost: x\r\n").await;
        for _ in 0..5 {
            tokio::time::sleep(SLOWLY).await;
            raw.write(b"X-More: y\r\n").await;
        }
        // Until the server has had enough.
        Ok(raw.code().await)
    }))
    .await?;
    assert_eq!(answers, Answers::from([("closed".to_owned(), 400)]));
    Ok(answers)
}

async fn slow_bodies(server: &Server) -> Result<Answers, Failure> {
    let answers = counted((0..400).map(|_| async {
        let mut raw = server.raw("http/1.1").await?;
        raw.write(
            format!("POST {DEPTH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{{").as_bytes(),
        )
        .await;
        tokio::time::sleep(SLOWLY).await;
        raw.write(b" ").await;
        Ok(raw.code().await)
    }))
    .await?;
    // Nothing that changes anything is served; who may do anything is told so, whatever the body.
    assert_eq!(answers, Answers::from([("405".to_owned(), 400)]));
    Ok(answers)
}

async fn untaken(server: &Server) -> Result<Answers, Failure> {
    let pipelined = request("/openapi/v2", "").repeat(1000);
    counted((0..100).map(|_| async {
        let mut raw = server.raw("http/1.1").await?;
        // As many as the server takes while no client reads its answers.
        let _ = tokio::time::timeout(SLOWLY * 10, raw.0.write_all(pipelined.as_bytes())).await;
        tokio::time::sleep(SLOWLY * 10).await;
        Ok("not taken".to_owned())
    }))
    .await
}

async fn half_open(server: &Server) -> Result<Answers, Failure> {
    let answers = counted((0..900).map(|number| async move {
        let mut stream = server.target.tcp().await?;
        // Some say the beginning of a handshake.
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1, 2]).await?;
        }
        let mut answer = [0];
        let read = tokio::time::timeout(MINUTE * 3, stream.read(&mut answer)).await?;
        Ok(if matches!(read, Ok(0) | Err(_)) { "closed" } else { "answered" }.to_owned())
    }))
    .await?;
    assert_eq!(answers, Answers::from([("closed".to_owned(), 900)]));
    Ok(answers)
}

async fn long_heads(server: &Server) -> Result<Answers, Failure> {
    let chunk = vec![b'a'; 16 << 10];
    counted((0..400).map(|_| async {
        let mut raw = server.raw("http/1.1").await?;
        let mut open = raw.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ").await;
        // Just less than is refused immediately.
        for _ in 0..15 {
            open = open && raw.write(&chunk).await;
        }
        Ok(if open { raw.code().await } else { "closed".to_owned() })
    }))
    .await
}

/// One byte stands for a header that was named before: little is sent and much is kept.
async fn packed_heads(server: &Server) -> Result<Answers, Failure> {
    counted((0..400).map(|_| async {
        let mut raw = server.raw("h2").await?;
        let mut frames = frame::preface();
        let named = [&frame::get("/"), frame::FIELD].concat();
        frames.extend(frame::new(frame::HEADERS, frame::END_STREAM, 1, &named));
        frames.extend(frame::new(frame::CONTINUATION, 0, 1, &[frame::AGAIN; 15_000]).repeat(2));
        Ok(if raw.write(&frames).await { raw.goodbye().await } else { "closed".to_owned() })
    }))
    .await
}

/// The same in one frame, which ends: a hundred times a connection, each with an unknown token.
async fn one_frame_heads(server: &Server) -> Result<Answers, Failure> {
    let request = |number: u32| {
        let named = if number == 0 { frame::FIELD } else { &[] };
        let token = frame::authorization("Bearer bad");
        let block = [&frame::get("/"), named, &token, &[frame::AGAIN; 16_000]].concat();
        frame::request(2 * number + 1, &block)
    };
    let frames = [frame::preface(), (0..100).flat_map(request).collect()].concat();
    counted((0..16).map(|_| async {
        let mut raw = server.raw("h2").await?;
        Ok(if raw.write(&frames).await { raw.goodbye().await } else { "closed".to_owned() })
    }))
    .await
}

/// More than there are places; a probe gets one all the same.
async fn strangers(server: &Server) -> Result<Answers, Failure> {
    let connections = join_all((0..1200).map(|_| server.raw("http/1.1"))).await;
    let held: Vec<_> = connections.into_iter().filter_map(Result::ok).collect();
    let mut probe = server.raw("http/1.1").await?;
    probe.write(request("/livez", "Connection: close\r\n").as_bytes()).await;
    let answers = Answers::from([(probe.code().await, 1)]);
    drop(held);
    assert_eq!(answers, Answers::from([("200".to_owned(), 1)]));
    Ok(answers)
}

async fn long_paths(server: &Server) -> Result<Answers, Failure> {
    let path =
        format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/{}/m", "a".repeat(128 << 10));
    let request = request(&path, "Connection: close\r\n");
    let answers = counted((0..100).map(|_| async {
        let mut raw = server.raw("http/1.1").await?;
        raw.write(request.as_bytes()).await;
        Ok(raw.code().await)
    }))
    .await?;
    // hyper takes paths of up to 64 KiB.
    assert_eq!(answers, Answers::from([("414".to_owned(), 100)]));
    Ok(answers)
}

async fn resets(server: &Server) -> Result<Answers, Failure> {
    counted((0..20).map(|_| async {
        let mut raw = server.raw("h2").await?;
        let mut open = raw.write(&frame::preface()).await;
        for number in 0..50_u32 {
            let mut frames = Vec::new();
            for stream in (0..200).map(|position| 2 * (200 * number + position) + 1) {
                frames.extend(frame::request(stream, &frame::get("/")));
                frames.extend(frame::new(frame::RST_STREAM, 0, stream, &[0, 0, 0, 8]));
            }
            open = open && raw.write(&frames).await;
        }
        Ok(raw.goodbye().await)
    }))
    .await
}

async fn continuations(server: &Server) -> Result<Answers, Failure> {
    counted((0..20).map(|_| async {
        let mut raw = server.raw("h2").await?;
        let mut open = raw.write(&frame::preface()).await;
        open = open && raw.write(&frame::new(frame::HEADERS, frame::END_STREAM, 1, &frame::get("/"))).await;
        // A header of a name of two letters and a value of 100, again and again, without an end.
        let mut header = vec![0x00, 2, b'x', b'y', 100];
        header.extend([b'a'; 100]);
        let more = frame::new(frame::CONTINUATION, 0, 1, &header.repeat(100)).repeat(10);
        for _ in 0..100 {
            open = open && raw.write(&more).await;
        }
        Ok(raw.goodbye().await)
    }))
    .await
}

const HEAD: &str =
    "what                                  MiB before   peak   after   files before peak after   answers";
const PODS: usize = 50;
const LOOK: Duration = Duration::from_millis(100);
/// How long a slow client pauses: the pace itself is what the server must stand.
const SLOWLY: Duration = Duration::from_millis(300);
const MINUTE: Duration = Duration::from_mins(1);
/// Connections of clients that go on asking.
const SPARE_FILES: usize = 2;
const MIB: f64 = 1_048_576.0;
/// What anything above may take, whatever the number of clients: the Deployment's limit is 128 MiB.
const MOST_GROWTH: u64 = 80 << 20;
