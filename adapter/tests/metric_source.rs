//! What every peer behind `MetricSource` has in common: one suite, mounted once for each of them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use adapter::source::embedded::Embedded;
use adapter::source::prometheus::{Prometheus, PrometheusSettings, Verb};
use adapter::source::recorded::{Recorded, vector};
use adapter::source::{Held, Listing, MetricSource, QueryResult, Samples, SourceError, SourceErrorClass};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use engine::EngineConfig;
use engine::scrape::{ScrapeConfig, Target};
use rules::catalog::Series;
use serde_json::{Value, json};
use testkit::router;
use testkit::rows::each_row_async;

/// What the target of every peer exposes.
const EXPOSED: &str = "depth{pod=\"a\"} 3\ndepth{pod=\"b\"} +Inf\ndepth{pod=\"c\",zone=\"x\"} NaN\nother 1\n";

const VECTOR: &str = "sum by (pod) (depth)";
const EMPTY: &str = "depth{pod=\"nobody\"}";
const SCALAR: &str = "scalar(depth{pod=\"a\"}) * 14";
const MATRIX: &str = "depth[5m]";
const STRING: &str = "\"text\"";
const BROKEN: &str = "sum(";

async fn suite(source: &dyn MetricSource, now: SystemTime) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let query = |promql: &'static str| source.query(promql, now, deadline);
    source.ready().await.expect("ready");

    let listing = source.series("depth", now - Duration::from_mins(5), deadline).await.expect("a listing");
    let mut found: Vec<String> = listing
        .series
        .iter()
        .map(|series| {
            // `instance` and `job` are a real scraper's own.
            let labels = series.label_names.iter().filter(|name| !["instance", "job"].contains(&&***name));
            format!("{} {}", series.name, labels.map(|name| &**name).collect::<Vec<_>>().join(","))
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        ["depth pod", "depth pod,zone"],
        "each combination of label names once, without the name"
    );
    let nothing = source.series("nosuch", now - Duration::from_mins(5), deadline).await.expect("a listing");
    assert_eq!(nothing.series, [], "nothing found is no error");

    let Samples::Vector(mut samples) = query(VECTOR).await.expect("a vector").value else {
        panic!("no vector")
    };
    samples.sort_by(|left, right| left.label("pod").cmp(&right.label("pod")));
    let read: Vec<(Option<&str>, f64)> =
        samples.iter().map(|sample| (sample.label("pod"), sample.value)).collect();
    assert_eq!(read[..2], [(Some("a"), 3.0), (Some("b"), f64::INFINITY)]);
    assert!(read[2].0 == Some("c") && read[2].1.is_nan(), "NaN is a number too: {read:?}");
    let asked_ms = unix_ms(now);
    assert_eq!(samples[0].timestamp_ms, asked_ms, "an instant query's samples carry its time");

    let empty = query(EMPTY).await.expect("an empty vector is no error");
    assert_eq!(empty.value, Samples::Vector(Vec::new()));
    let scalar = query(SCALAR).await.expect("a scalar").value;
    assert!(
        matches!(scalar, Samples::Scalar { value: 42.0, timestamp_ms } if timestamp_ms == asked_ms),
        "{scalar:?}"
    );

    let rows = [
        (MATRIX, SourceErrorClass::WrongType),
        (STRING, SourceErrorClass::WrongType),
        (BROKEN, SourceErrorClass::BadQuery),
    ];
    each_row_async(rows, async |(promql, class)| {
        let error = query(promql).await.expect_err(promql);
        assert_eq!(error.class, class, "{promql}: {error}");
        assert!(!error.message.contains(promql), "the query stays out of the message: {error}");
    })
    .await;
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

async fn serve(router: Router) -> String {
    format!("http://{}", router::serve(router).await)
}

async fn scraping() -> Embedded {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = serve(Router::new().route("/metrics", get(async || EXPOSED))).await;
    let target = Target::new(&format!("{url}/metrics"), Vec::new()).expect("a URL");
    let embedded = Embedded::start(EngineConfig::default(), ScrapeConfig::default(), vec![target])
        .expect("scraping starts");
    embedded.rounds(1).await;
    embedded
}

#[tokio::test]
async fn the_embedded_engine_passes_the_suite() {
    suite(&scraping().await, SystemTime::now()).await;
}

#[tokio::test]
async fn a_recorded_source_passes_the_suite() {
    let recorded = Recorded::default();
    let now = SystemTime::now();
    let series = |labels: &[&str]| Series {
        name: "depth".into(),
        label_names: labels.iter().map(|name| Arc::from(*name)).collect(),
    };
    let listing = Listing { series: vec![series(&["pod"]), series(&["pod", "zone"])], warnings: Vec::new() };
    recorded.lists("depth", Ok(listing));
    recorded.lists("nosuch", Ok(Listing::default()));
    let samples: [(&[(&str, &str)], f64); 3] =
        [(&[("pod", "a")], 3.0), (&[("pod", "b")], f64::INFINITY), (&[("pod", "c")], f64::NAN)];
    recorded.answers(VECTOR, Ok(vector(samples, unix_ms(now))));
    recorded.answers(EMPTY, Ok(vector([], 0)));
    let value = Samples::Scalar { timestamp_ms: unix_ms(now), value: 42.0 };
    recorded.answers(
        SCALAR,
        Ok(QueryResult { value, warnings: Vec::new(), histograms_dropped: 0, held: Held::default() }),
    );
    for (promql, class) in [
        (MATRIX, SourceErrorClass::WrongType),
        (STRING, SourceErrorClass::WrongType),
        (BROKEN, SourceErrorClass::BadQuery),
    ] {
        recorded.answers(promql, Err(SourceError::new(class, "recorded")));
    }
    suite(&recorded, now).await;
}

/// Prometheus' HTTP API in front of the engine: what comes out of the engine crosses the wire in Prometheus' own form.
/// A real Prometheus stands behind the same peer in the end-to-end tests.
#[tokio::test]
async fn prometheus_passes_the_suite() {
    let router = Router::new()
        .route("/api/v1/series", get(list).post(list_form))
        .route("/api/v1/query", get(evaluate).post(evaluate_form))
        .with_state(Arc::new(scraping().await));
    let url = serve(router).await;
    for verb in [Verb::Get, Verb::Post] {
        let source = Prometheus::new(PrometheusSettings {
            verb,
            ..PrometheusSettings::new(url.parse().expect("a URL"))
        })
        .expect("no files to read");
        suite(&source, SystemTime::now()).await;
    }
}

type Parameters = Vec<(String, String)>;

fn parse(form: Option<String>) -> Parameters {
    let url = reqwest::Url::parse(&format!("http://form/?{}", form.unwrap_or_default())).expect("a form");
    url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect()
}

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> &'a str {
    parameters.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
}

fn success(data: &Value) -> (http::StatusCode, String) {
    (http::StatusCode::OK, json!({"status": "success", "data": data}).to_string())
}

async fn list(State(source): State<Arc<Embedded>>, RawQuery(form): RawQuery) -> (http::StatusCode, String) {
    listing(&source, &parse(form)).await
}

async fn list_form(State(source): State<Arc<Embedded>>, form: String) -> (http::StatusCode, String) {
    listing(&source, &parse(Some(form))).await
}

async fn listing(source: &Embedded, parameters: &Parameters) -> (http::StatusCode, String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let since = SystemTime::now() - Duration::from_mins(5);
    let listing = source.series(parameter(parameters, "match[]"), since, deadline).await.expect("a listing");
    let data: Vec<Value> = listing
        .series
        .iter()
        .map(|series| {
            let labels = series.label_names.iter().map(|name| (name.to_string(), json!("some value")));
            Value::Object(labels.chain([("__name__".to_owned(), json!(&*series.name))]).collect())
        })
        .collect();
    success(&json!(data))
}

async fn evaluate(
    State(source): State<Arc<Embedded>>,
    RawQuery(form): RawQuery,
) -> (http::StatusCode, String) {
    answer(&source, &parse(form)).await
}

async fn evaluate_form(State(source): State<Arc<Embedded>>, form: String) -> (http::StatusCode, String) {
    answer(&source, &parse(Some(form))).await
}

async fn answer(source: &Embedded, parameters: &Parameters) -> (http::StatusCode, String) {
    let seconds: f64 = parameter(parameters, "time").parse().expect("a time");
    // Rounded: seconds with three decimals are not exact in binary.
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis((seconds * 1000.0).round() as u64);
    let promql = parameter(parameters, "query");
    match source.query(promql, time, Instant::now() + Duration::from_secs(20)).await {
        Ok(QueryResult { value: Samples::Vector(samples), .. }) => {
            let result: Vec<Value> = samples
                .iter()
                .map(|sample| {
                    let labels =
                        sample.labels.iter().map(|(name, value)| (name.to_string(), json!(&**value)));
                    let metric: serde_json::Map<String, Value> = labels.collect();
                    json!({"metric": metric, "value": [seconds, number(sample.value)]})
                })
                .collect();
            success(&json!({"resultType": "vector", "result": result}))
        }
        Ok(QueryResult { value: Samples::Scalar { value, .. }, .. }) => {
            success(&json!({"resultType": "scalar", "result": [seconds, number(value)]}))
        }
        Err(error) if error.class == SourceErrorClass::WrongType => success(&match promql {
            MATRIX => json!({"resultType": "matrix", "result": []}),
            _ => json!({"resultType": "string", "result": [seconds, "text"]}),
        }),
        Err(error) => {
            let body = json!({"status": "error", "errorType": "bad_data", "error": error.message});
            (http::StatusCode::BAD_REQUEST, body.to_string())
        }
    }
}

/// As Prometheus writes numbers.
fn number(value: f64) -> String {
    if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() }
}
