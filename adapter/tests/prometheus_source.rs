//! The Prometheus peer against a server that answers whatever a test says: garbage has a class and a message, and the
//! next good answer works.

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use adapter::source::prometheus::{AnswerLimits, Prometheus, PrometheusSettings, Verb};
use adapter::source::targets::{Health, ScrapedTarget};
use adapter::source::{MetricSource as _, Samples, SourceErrorClass};
use http::{HeaderName, HeaderValue};
use testkit::rows::{each_row, each_row_async};
use testkit::scripted::{Reply, Request, Server, answer};

const GOOD: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1435781451.781,"7.5"]}]}}"#;

/// A server on loopback that keeps what it was asked, and answers nothing yet.
struct Fake {
    server: Server,
    url: String,
    reply: Arc<Mutex<Reply>>,
}

impl Fake {
    async fn start() -> Fake {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let reply = Arc::new(Mutex::new(Reply::Hang));
        let replies = Arc::clone(&reply);
        let server = Server::plain(move |_| replies.lock().expect("not poisoned").clone()).await;
        let url = format!("http://{}/base/?tenant=x", server.address);
        Fake { server, url, reply }
    }

    fn answers(&self, reply: Reply) {
        *self.reply.lock().expect("not poisoned") = reply;
    }

    fn json(&self, code: u16, body: &str) {
        self.answers(json(code, body));
    }

    fn last_asked(&self) -> Request {
        self.server.take().pop().expect("a request")
    }

    fn source(&self, verb: Verb) -> Prometheus {
        Prometheus::new(PrometheusSettings {
            verb,
            headers: vec![(HeaderName::from_static("x-scope"), HeaderValue::from_static("team"))],
            ..PrometheusSettings::new(self.url.parse().expect("a URL"))
        })
        .expect("no files to read")
    }
}

fn json(code: u16, body: &str) -> Reply {
    answer(code, &[("content-type", "application/json")], body)
}

/// A body with this Content-Encoding.
fn coded(coding: &str, body: impl AsRef<[u8]>) -> Reply {
    answer(200, &[("content-encoding", coding)], body)
}

/// The headers promise more than comes.
fn truncated(body: &str) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n";
    Reply::Bytes(format!("{head}{body}").into_bytes())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn a_question_has_its_query_its_time_and_its_headers() {
    let fake = Fake::start().await;
    fake.json(200, GOOD);
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_461_859_620);
    fake.source(Verb::Get).query("up{a=\"b\"}", time, soon()).await.expect("a good answer");
    let asked = fake.last_asked();
    let target = "/base/api/v1/query?tenant=x&query=up%7Ba%3D%22b%22%7D&time=1795461859.62&timeout=";
    assert!(asked.method == "GET" && asked.target.starts_with(target), "{asked:?}");
    assert_eq!(asked.header("x-scope"), ["team"]);
    fake.source(Verb::Post).query("up", time, soon()).await.expect("a good answer");
    let asked = fake.last_asked();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/base/api/v1/query?tenant=x"));
    assert!(asked.body.starts_with("query=up&time=1795461859.62&timeout="), "{asked:?}");
    fake.json(200, r#"{"status":"success","data":[]}"#);
    fake.source(Verb::Get).series("m{}", time, soon()).await.expect("a good answer");
    let asked = fake.last_asked();
    let target = "/base/api/v1/series?tenant=x&match%5B%5D=m%7B%7D&start=1795461859.62";
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", target));
}

#[tokio::test]
async fn targets_are_asked_for_by_get_and_read() {
    let fake = Fake::start().await;
    fake.json(
        200,
        r#"{"status":"success","data":{"activeTargets":[
            {"discoveredLabels":{"__meta_kubernetes_namespace":"a","__meta_kubernetes_pod_name":"web-1","__address__":"x"},
             "labels":{"namespace":"relabelled","job":"web"},"scrapePool":"p","scrapeUrl":"http://x/metrics","globalUrl":"",
             "lastError":"connection refused","lastScrape":"2026-11-23T19:18:23Z","health":"down"},
            {"labels":{"namespace":"b","pod":"p"},"health":"up"},{"labels":{},"health":"unknown"}],"droppedTargets":[]}}"#,
    );
    let target = |namespace: Option<&str>, pod: Option<&str>, health, error: Option<&str>| ScrapedTarget {
        namespace: namespace.map(str::to_owned),
        pod: pod.map(str::to_owned),
        health,
        last_error: error.map(str::to_owned),
    };
    let expected = [
        target(Some("a"), Some("web-1"), Health::Down, Some("connection refused")),
        target(Some("b"), Some("p"), Health::Up, None),
        target(None, None, Health::Unknown, None),
    ];
    for verb in [Verb::Get, Verb::Post] {
        let targets = fake.source(verb).targets(soon()).await.expect("an answer");
        assert_eq!(targets.as_deref(), Some(&expected[..]));
        let asked = fake.last_asked();
        assert_eq!(
            (asked.method.as_str(), asked.target.as_str()),
            ("GET", "/base/api/v1/targets?tenant=x&state=active")
        );
    }
    for (code, body) in [(403, "forbidden"), (200, "<html>"), (200, r#"{"status":"error","error":"no"}"#)] {
        fake.json(code, body);
        fake.source(Verb::Get).targets(soon()).await.expect_err(body);
    }
    let large =
        format!(r#"{{"status":"success","data":{{"activeTargets":[],"x":"{}"}}}}"#, "x".repeat(7 << 20));
    fake.json(200, &large);
    let error = fake.source(Verb::Get).targets(soon()).await.expect_err("too large");
    assert!(error.message.contains("larger than"), "{error}");
}

/// So that it says itself that a query takes too long.
#[tokio::test]
async fn prometheus_is_told_a_little_less_than_the_time_that_is_left() {
    let fake = Fake::start().await;
    fake.json(200, GOOD);
    let source = fake.source(Verb::Get);
    let rows = [(Duration::from_mins(1), 9_000..=9_500), (Duration::from_secs(4), 3_300..=3_800)];
    each_row_async(rows, async |(left, expected)| {
        source.query("up", SystemTime::now(), Instant::now() + left).await.expect("a good answer");
        let asked = fake.last_asked();
        let told = asked.target.rsplit_once("timeout=").expect("a timeout").1.strip_suffix("ms");
        let told: u64 = told.and_then(|told| told.parse().ok()).expect("milliseconds");
        assert!(expected.contains(&told), "{told}");
    })
    .await;
}

#[tokio::test]
async fn numbers_of_every_kind_are_read() {
    let fake = Fake::start().await;
    let source = fake.source(Verb::Get);
    fake.json(
        200,
        r#"{"status":"success","warnings":["partial"],"data":{"result":[{"metric":{"pod":"a"},"value":[1,"NaN"]},
           {"metric":{"pod":"b"},"value":[2.5,"+Inf"]},{"metric":{},"value":[3,"-Inf"]},
           {"metric":{"pod":"h"},"histogram":[4,{"count":"1","sum":"2"}]}],"resultType":"vector"}}"#,
    );
    let result = source.query("m", SystemTime::now(), soon()).await.expect("a good answer");
    assert_eq!(result.warnings, ["partial"]);
    assert_eq!(result.histograms_dropped, 1);
    let Samples::Vector(samples) = result.value else { panic!("no vector") };
    assert!(samples[0].value.is_nan());
    assert_eq!((samples[1].value, samples[1].timestamp_ms), (f64::INFINITY, 2500));
    assert_eq!((samples[2].value, samples[2].label("pod")), (f64::NEG_INFINITY, None));
    fake.json(200, r#"{"status":"success","data":{"resultType":"scalar","result":[1,"42"]}}"#);
    let result = source.query("m", SystemTime::now(), soon()).await.expect("a good answer");
    assert_eq!(result.value, Samples::Scalar { timestamp_ms: 1000, value: 42.0 });
}

#[tokio::test]
async fn garbage_has_a_class_and_a_message() {
    use SourceErrorClass::{BadQuery, Silent, Timeout, Unavailable, Unreachable, WrongType};
    let fake = Fake::start().await;
    let source = fake.source(Verb::Get);
    let error = |kind: &str| format!(r#"{{"status":"error","errorType":"{kind}","error":"boom"}}"#);
    let page = |code| answer(code, &[("content-type", "text/html")], "<html>proxy</html>");
    let rows = [
        (page(502), Unavailable, "Prometheus answered 502 Bad Gateway: proxy"),
        (page(503), Unavailable, "Prometheus answered 503 Service Unavailable: proxy"),
        (page(429), Unavailable, "Prometheus answered 429 Too Many Requests: proxy (requests are limited"),
        (page(401), Unavailable, "Prometheus answered 401 Unauthorized: proxy (are credentials missing"),
        (page(404), Unavailable, "Prometheus answered 404 Not Found: proxy (is the path of --prometheus-url"),
        (page(422), BadQuery, "Prometheus answered 422 Unprocessable Entity: proxy"),
        (page(504), Silent, "Prometheus answered 504 Gateway Timeout: proxy"),
        (page(200), Unavailable, "expected Prometheus' JSON, found the page \"proxy\" (is the path of"),
        (json(200, "no"), Unavailable, "the answer is not what Prometheus answers: expected ident at line 1"),
        (json(200, ""), Unavailable, "the answer broke off: EOF while parsing a value at line 1 column 0"),
        (json(200, &GOOD[..40]), Unavailable, "the answer broke off: EOF while parsing"),
        (json(200, r#"{"status":"success"}"#), Unavailable, "the answer of Prometheus has no data"),
        (json(400, &error("bad_data")), BadQuery, "Prometheus answered bad_data: boom"),
        (json(422, &error("execution")), BadQuery, "Prometheus answered execution: boom"),
        (json(503, &error("timeout")), Timeout, "Prometheus answered timeout: boom"),
        (json(500, &error("internal")), Unavailable, "Prometheus answered internal: boom"),
        (
            json(200, r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#),
            WrongType,
            "the query yields a matrix, expected an instant vector or a scalar",
        ),
        (
            json(200, r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#),
            WrongType,
            "the query yields a string, expected an instant vector or a scalar",
        ),
        (truncated(&GOOD[..60]), Unavailable, "the answer of Prometheus broke off"),
        (Reply::Close, Unreachable, "Prometheus at http://127.0.0.1:"),
    ];
    each_row_async(rows, async |(answer, class, message)| {
        fake.answers(answer);
        let found = source.query("m", SystemTime::now(), soon()).await.expect_err(message);
        assert_eq!(found.class, class, "{message}: {found}");
        assert!(found.message.starts_with(message), "expected {message}, found {found}");
        assert!(!found.message.contains("tenant") && !found.message.contains("x-scope"), "{found}");
        // A listing fails alike.
        if class != WrongType {
            let found = source.series("m", SystemTime::now(), soon()).await.expect_err(message);
            assert_eq!(found.class, class, "{message}: {found}");
            assert!(!found.message.contains("tenant") && !found.message.contains("x-scope"), "{found}");
        }
        fake.json(200, GOOD);
        source.query("m", SystemTime::now(), soon()).await.expect("the next good answer works");
    })
    .await;
}

#[tokio::test]
async fn a_partial_answer_says_so() {
    let fake = Fake::start().await;
    let source = fake.source(Verb::Get);
    let marked = GOOD.replacen('{', "{\"isPartial\":true,\"warnings\":[\"store \\u0007 is away\",null],", 1);
    fake.json(200, &marked);
    let expected = ["store is away", "the source says that its answer is partial (isPartial)"];
    let result = source.query("m", SystemTime::now(), soon()).await.expect("a good answer");
    assert_eq!(result.warnings, expected);
    fake.json(200, r#"{"status":"success","warnings":["store is away"],"data":[],"isPartial":true}"#);
    assert_eq!(source.series("m", SystemTime::now(), soon()).await.expect("a listing").warnings, expected);
    fake.json(
        200,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,null]}]}}"#,
    );
    let result = source.query("m", SystemTime::now(), soon()).await.expect("a good answer");
    assert_eq!((result.value, result.histograms_dropped), (Samples::Vector(Vec::new()), 0));
    assert_eq!(result.warnings, ["samples without a value were left out"]);
    each_row_async(["false", "null", "\"true\"", "[true]"], async |odd| {
        fake.json(200, &GOOD.replacen('{', &format!("{{\"isPartial\":{odd},"), 1));
        let result = source.query("m", SystemTime::now(), soon()).await.expect("a good answer");
        assert_eq!(result.warnings, Vec::<String>::new(), "{odd}");
    })
    .await;
}

#[tokio::test]
async fn compressed_answers_are_not_asked_for_over_plain_http() {
    let fake = Fake::start().await;
    let source = fake.source(Verb::Get);
    fake.answers(coded("gzip", gzip(GOOD.as_bytes())));
    source.query("m", SystemTime::now(), soon()).await.expect("read all the same");
    assert!(fake.last_asked().header("accept-encoding").is_empty());
    assert!(PrometheusSettings::new("https://prometheus.example".parse().expect("a URL")).gzip);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn compressed_answers_are_read_and_bounded() {
    let fake = Fake::start().await;
    let settings = PrometheusSettings::new(fake.url.parse().expect("a URL"));
    let source = Prometheus::new(PrometheusSettings { gzip: true, ..settings }).expect("no files to read");
    let query = || source.query("m", SystemTime::now(), soon());
    let list = || source.series("m", SystemTime::now(), soon());
    let listing = gzip(br#"{"status":"success","data":[{"__name__":"m","pod":"a"}]}"#);
    each_row_async(["gzip", "GZIP", "x-gzip"], async |coding| {
        fake.answers(coded(coding, gzip(GOOD.as_bytes())));
        let Samples::Vector(samples) = query().await.expect("a good answer").value else {
            panic!("no vector")
        };
        assert_eq!(samples[0].value, 7.5, "{coding}");
        assert_eq!(fake.last_asked().header("accept-encoding"), ["gzip"], "queries ask for it");
        fake.answers(coded(coding, listing.clone()));
        assert_eq!(&*list().await.expect("a listing").series[0].name, "m", "{coding}");
        assert!(
            fake.last_asked().header("accept-encoding").is_empty(),
            "listings do not, and are read all the same"
        );
    })
    .await;
    fake.answers(coded("identity", GOOD));
    query().await.expect("a good answer");
    // More comes out than is taken: 65 MiB of blanks in 64 KiB.
    fake.answers(coded("gzip", gzip(&vec![b' '; 65 << 20])));
    let found = query().await.expect_err("too large");
    assert_eq!(found.class, SourceErrorClass::BadQuery);
    assert_eq!(
        found.message,
        "the answer of Prometheus is larger than 6291456 bytes: expected a query of fewer series, or a larger \
         --prometheus-max-answer-bytes"
    );
    let rows = [
        (coded("gzip", &gzip(GOOD.as_bytes())[..40]), "the compressed answer of Prometheus broke off"),
        (coded("gzip", GOOD), "the answer of Prometheus is not gzip as it says: "),
        (
            coded("br", vec![1]),
            "the answer of Prometheus has the Content-Encoding \"br\", expected gzip or none",
        ),
    ];
    each_row_async(rows, async |(answer, message)| {
        fake.answers(answer);
        let found = query().await.expect_err(message);
        assert_eq!(found.class, SourceErrorClass::Unavailable);
        assert!(found.message.starts_with(message), "expected {message}, found {found}");
    })
    .await;
    fake.answers(coded("gzip", &listing[..listing.len() - 9]));
    let found = list().await.expect_err("cut off");
    assert!(found.message.starts_with("the compressed answer of Prometheus broke off ("), "{found}");
    fake.answers(coded("gzip", GOOD));
    let found = list().await.expect_err("no gzip");
    assert!(found.message.starts_with("the listing of series cannot be read: "), "{found}");
}

#[tokio::test]
async fn a_result_keeps_its_room_until_it_is_dropped() {
    let fake = Fake::start().await;
    let mut settings = PrometheusSettings::new(fake.url.parse().expect("a URL"));
    settings.answers = AnswerLimits { one: 1 << 20, all: 2 << 20 };
    let source = Prometheus::new(settings).expect("no files to read");
    let long = GOOD.replacen('{', &format!("{{\"note\":\"{}\",", "x".repeat(900 << 10)), 1);
    let ask = |deadline| source.query("m", SystemTime::now(), deadline);
    fake.json(200, &long);
    let kept = ask(soon()).await.expect("room");
    let found = ask(Instant::now() + Duration::from_secs(2)).await.expect_err("no room");
    assert_eq!(found.class, SourceErrorClass::Busy);
    assert!(found.message.contains("--prometheus-max-answers-bytes"), "{found}");
    assert!(source.answer_stats().bytes.load(Ordering::Relaxed) >= 900 << 10);
    // Short answers go on.
    fake.json(200, GOOD);
    ask(soon()).await.expect("a good answer");
    drop(kept);
    fake.json(200, &long);
    ask(soon()).await.expect("room again");
    assert_eq!(source.answer_stats().bytes.load(Ordering::Relaxed), 0);
    assert_eq!(source.answer_stats().no_room.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_listing_that_takes_too_much_names_the_flag() {
    let fake = Fake::start().await;
    let mut settings = PrometheusSettings::new(fake.url.parse().expect("a URL"));
    settings.listing = 64 << 10;
    let source = Prometheus::new(settings).expect("no files to read");
    let series: Vec<String> =
        (0..3_000).map(|number| format!(r#"{{"__name__":"m{number}","a":"x"}}"#)).collect();
    fake.json(200, &format!(r#"{{"status":"success","data":[{}]}}"#, series.join(",")));
    let found = source.series("m", SystemTime::now(), soon()).await.expect_err("too many").message;
    assert!(found.contains("65536 bytes") && found.contains("--prometheus-max-listing-bytes"), "{found}");
}

#[tokio::test]
async fn a_deadline_is_kept() {
    let fake = Fake::start().await;
    let source = fake.source(Verb::Get);
    let deadline = Instant::now() + Duration::from_millis(50);
    let rows = [
        source.query("m", SystemTime::now(), deadline).await.expect_err("too late"),
        source.series("m", SystemTime::now(), deadline).await.expect_err("too late"),
    ];
    each_row(rows, |found| {
        assert_eq!(found.class, SourceErrorClass::Silent);
        let address = fake.url.split_once("/base").expect("a path").0;
        assert_eq!(found.message, format!("Prometheus did not answer in time ({address})"));
    });
}

#[tokio::test]
async fn a_listing_keeps_names_only() {
    let fake = Fake::start().await;
    let series: Vec<String> = (0..5000)
        .map(|number| format!(r#"{{"__name__":"m{}","pod":"p{number}","job":"j"}}"#, number % 3))
        .collect();
    fake.json(200, &format!(r#"{{"status":"success","data":[{}],"warnings":["w"]}}"#, series.join(",")));
    let listing = fake.source(Verb::Get).series("m", SystemTime::now(), soon()).await.expect("a good answer");
    assert_eq!(listing.warnings, ["w"]);
    let names: Vec<&str> = listing.series.iter().map(|series| &*series.name).collect();
    assert_eq!(names, ["m0", "m1", "m2"]);
    let labels: Vec<&str> = listing.series[0].label_names.iter().map(|label| &**label).collect();
    assert_eq!(labels, ["job", "pod"]);
    fake.json(200, r#"{"status":"success","data":null}"#);
    let listing = fake.source(Verb::Get).series("m", SystemTime::now(), soon()).await.expect("null is none");
    assert!(listing.series.is_empty());
}
