//! Attacks on the model server.

use std::io::Write as _;
use std::time::Duration;

use e2e::load::BODY;
use e2e::stack;
use e2e::{Failure, until};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use reqwest::Client;
use testkit::wire::target::Target;
use testkit::wire::{frame, request};

use super::watch::{Row, Watch, during};
use super::{ATTACKERS, Answers, Attacks, MIB, MINUTE, kubelet, many, prepare};

#[tokio::test(flavor = "multi_thread")]
async fn the_model_server_withstands_its_clients() -> Result<(), Failure> {
    let _alone = prepare().await?;
    let mut attacks = Attacks::new(LIMIT);

    for (what, item) in [
        ("699,040 faults in 2 KB of gzip", "\"\""),
        ("699,040 objects for numbers in 2 KB of gzip", "{}"),
        ("lists in lists for numbers", "[[[]]]"),
    ] {
        let body = gzip(format!("{{\"features\":[{}]}}", list_of(item)).as_bytes())?;
        let mut longest = 0;
        let row = watched(what, async |target| {
            let (client, url) = (Client::new(), format!("http://{}/predict", target.address));
            for _ in 0..3 {
                let sent = (0..6)
                    .map(|_| client.post(&url).header("content-encoding", "gzip").body(body.clone()).send());
                for answer in join_all(sent).await {
                    let answer = answer?;
                    let code = answer.status().as_u16();
                    longest = longest.max(answer.bytes().await?.len());
                    if !matches!(code, 422 | 503) {
                        return Err(format!("expected 422 or 503, found {code}").into());
                    }
                }
            }
            Ok(())
        });
        attacks.add(row.await?);
        attacks
            .expect(&format!("{what}: answers of at most 64 KiB, not {longest} bytes"), longest <= 64 << 10);
    }

    for (what, bytes, pings) in [
        ("120 clients that say nothing", Vec::new(), false),
        ("120 clients with half a preface", b"PRI * HT".to_vec(), false),
        ("120 clients with half a head", b"GET /health HTTP/1.1\r\nX-A: ".to_vec(), false),
        ("120 idle HTTP/2 clients that answer pings", frame::preface(), true),
    ] {
        let client = async |target: &Target| {
            let mut raw = target.open("", None).await?;
            raw.write(&bytes).await;
            let closed = raw.is_closed_within(Duration::from_secs(20), pings).await;
            Ok(if closed { "closed" } else { "open" }.to_owned())
        };
        let held = attacked(&mut attacks, what, 120, client).await?;
        attacks.expect(
            &format!("{what}: each is closed by the server, not {held:?}"),
            held.keys().eq(["closed"]),
        );
    }
    // More than the kernel keeps for a client.
    let pipelined = request("/metrics", "").repeat(600);
    let client = async |target: &Target| {
        let mut raw = target.open("", None).await?;
        let _ = tokio::time::timeout(Duration::from_secs(2), raw.write(&pipelined)).await;
        // Longer than the server waits for a client that takes nothing.
        tokio::time::sleep(Duration::from_secs(8)).await;
        Ok(String::new())
    };
    attacked(&mut attacks, "120 clients that take no answer", 120, client).await?;

    let head = format!("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 2 << 20);
    let body = vec![b' '; (2 << 20) - 10];
    let client = async |target: &Target| {
        let mut raw = target.open("", None).await?;
        raw.write(&head).await;
        raw.write(&body).await;
        tokio::time::sleep(ALL_AT_ONCE).await;
        Ok(String::new())
    };
    attacked(&mut attacks, "200 bodies of 2 MiB that lack their end", 200, client).await?;
    let row = watched("200 bodies over one HTTP/2 connection", async |target| {
        let client = Client::builder().http2_prior_knowledge().build()?;
        let url = format!("http://{}/predict", target.address);
        many(200, async |_| {
            let parts = futures_util::stream::unfold(0, |sent| async move {
                if sent == 31 {
                    tokio::time::sleep(ALL_AT_ONCE).await;
                    return None;
                }
                let blanks = Bytes::from(vec![b' '; 64 << 10]);
                Some((Ok::<_, std::io::Error>(Frame::data(blanks)), sent + 1))
            });
            let body = reqwest::Body::wrap(StreamBody::new(parts));
            Ok(client.post(&url).body(body).send().await?.status().to_string())
        })
        .await;
        Ok(())
    });
    attacks.add(row.await?);
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "a".repeat(380 << 10));
    let client = async |target: &Target| {
        let mut raw = target.open("", None).await?;
        raw.write(&head).await;
        Ok(raw.code().await)
    };
    attacked(&mut attacks, "250 heads of 380 KB that never end", 250, client).await?;
    attacks.judge("attacks-model")
}

/// Has many clients attack concurrently; how often each answer came.
async fn attacked(
    attacks: &mut Attacks,
    what: &'static str,
    clients: usize,
    client: impl AsyncFn(&Target) -> Result<String, Failure>,
) -> Result<Answers, Failure> {
    let mut answers = Answers::new();
    let attack = async |target: &Target| {
        answers = many(clients, async |_| client(target).await).await;
        Ok(())
    };
    attacks.add(watched(what, attack).await?);
    Ok(answers)
}

/// Attacks a server of its own, so that what one attack leaves behind is not counted for the next.
async fn watched(
    what: &'static str,
    attack: impl AsyncFnOnce(&Target) -> Result<(), Failure>,
) -> Result<Row, Failure> {
    let dir = tempfile::tempdir()?;
    let pod = stack::start_pod("model-0", &SHORT_LIMITS.map(str::to_owned), dir.path()).await?;
    let (kubelet, client) = (kubelet()?, Client::new());
    let health = format!("http://{}/health", pod.address);
    let predict = format!("http://{}/predict", pod.address);
    let watch = Watch {
        health: Box::new(move || {
            let request = kubelet.get(&health).send();
            async move { request.await.is_ok_and(|answer| answer.status().is_success()) }.boxed()
        }),
        caller: Box::new(move || {
            let request = client.post(&predict).header("content-type", "application/json").body(BODY).send();
            async move { request.await.is_ok_and(|answer| answer.status().is_success()) }.boxed()
        }),
    };
    let target = Target::plain(pod.address.parse()?).reached_from(ATTACKERS);
    let row = during(what, &pod.process, watch, attack(&target)).await?;
    until("what clients left open is closed", MINUTE, || async {
        Ok(pod.process.open_files().is_some_and(|files| files < 64))
    })
    .await?;
    Ok(row)
}

/// As many as a body of 2 MiB holds.
fn list_of(item: &str) -> String {
    vec![item; (2 << 20) / (item.len() + 1) - 16].join(",")
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Longer than it takes the last client to send its part, so that what all of them sent is there at the same time.
const ALL_AT_ONCE: Duration = Duration::from_secs(4);
/// So that the test sees each of them pass.
const SHORT_LIMITS: [&str; 8] =
    ["--max-connections", "100", "--header-timeout", "2", "--idle-timeout", "4", "--answer-timeout", "4"];
/// The budget for bodies is 64 MiB by default.
const LIMIT: u64 = 192 * MIB;
