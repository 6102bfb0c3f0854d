//! A Prometheus with any number of series: it answers what an adapter asks by arithmetic, after as long as it is told,
//! and counts it.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawForm, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use e2e::Failure;
use futures_util::{StreamExt as _, stream};
use http::header;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::pods::{Pods, namespace_name};

/// A server on loopback, until dropped.
pub(crate) struct Prometheus {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

/// What it holds and how fast it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series {
    /// What a listing answers.
    pub(crate) listed: Listed,
    /// Pods, each of which has a value of every metric.
    pub(crate) pods: Pods,
    /// Before a query is answered.
    pub(crate) latency: Duration,
}

/// The answer to a series query.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listed {
    /// One series, called as the query says.
    Asked,
    /// One series of each of these many metrics.
    Names(usize),
    /// This number of series of 50 metrics, 314 bytes each.
    Series(usize),
}

struct Shared {
    series: Series,
    queries: AtomicUsize,
    listings: AtomicUsize,
}

impl Prometheus {
    pub(crate) async fn start(series: Series) -> Result<Prometheus, Failure> {
        let shared = Arc::new(Shared { series, queries: AtomicUsize::new(0), listings: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/api/v1/query", get(query).post(query))
            .route("/api/v1/series", get(list).post(list))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Prometheus { address, shared, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Queries so far.
    pub(crate) fn queries(&self) -> usize {
        self.shared.queries.load(Ordering::Relaxed)
    }

    /// Selectors of series queries that were answered whole.
    pub(crate) fn listings(&self) -> usize {
        self.shared.listings.load(Ordering::Relaxed)
    }
}

/// Samples of the pods that the query names: all that it needs to hold are matchers of namespace and pod.
async fn query(State(shared): State<Arc<Shared>>, RawForm(form): RawForm) -> Response {
    shared.queries.fetch_add(1, Ordering::Relaxed);
    let promql = parameters(&form, "query").pop().unwrap_or_default();
    let name = promql.split('{').next().unwrap_or_default().rsplit('(').next().unwrap_or_default();
    let (namespaces, pods) = (matched(&promql, "namespace"), matched(&promql, "pod"));
    let mut body = String::from(r#"{"status":"success","data":{"resultType":"vector","result":["#);
    let now = unix_time();
    let mut sample = |namespace: &str, pod: &str| {
        if !body.ends_with('[') {
            body.push(',');
        }
        // A String takes everything.
        let _ = write!(
            body,
            r#"{{"metric":{{"__name__":"{name}","namespace":"{namespace}","pod":"{pod}"}},"value":[{now},"3"]}}"#
        );
    };
    for namespace in &namespaces {
        if pods.is_empty() {
            let number = namespace.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
            let number = number.filter(|number| namespace_name(*number) == *namespace).unwrap_or_default();
            for place in shared.series.pods.of(number) {
                sample(namespace, &place.name());
            }
        }
        for pod in &pods {
            sample(namespace, pod);
        }
    }
    body.push_str("]}}");
    tokio::time::sleep(shared.series.latency).await;
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn list(State(shared): State<Arc<Shared>>, RawForm(form): RawForm) -> Response {
    let asked: Vec<String> =
        parameters(&form, "match[]").iter().flat_map(|selector| names_of(selector)).collect();
    let listed = shared.series.listed;
    let count = match listed {
        Listed::Asked => asked.len(),
        Listed::Names(count) | Listed::Series(count) => count,
    };
    let matchers = asked.len();
    let mut numbers = 0..count;
    let chunk = move || {
        let mut chunk = String::new();
        for number in numbers.by_ref() {
            chunk.push_str(if number == 0 { "" } else { "," });
            write_series(listed, asked.get(number).map_or("", String::as_str), number, &mut chunk);
            if chunk.len() > CHUNK {
                break;
            }
        }
        (!chunk.is_empty()).then(|| Bytes::from(chunk))
    };
    let end = stream::once(async move {
        shared.listings.fetch_add(matchers, Ordering::Relaxed);
        Bytes::from_static(b"]}")
    });
    let start = stream::once(async { Bytes::from_static(br#"{"status":"success","data":["#) });
    let body = start.chain(stream::iter(std::iter::from_fn(chunk))).chain(end);
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body.map(Ok::<_, Infallible>)))
        .into_response()
}

fn write_series(listed: Listed, asked: &str, number: usize, out: &mut String) {
    // A String takes everything.
    let _ = match listed {
        Listed::Asked => {
            write!(out, r#"{{"__name__":"{asked}","namespace":"team-0000","pod":"app-00000-0"}}"#)
        }
        Listed::Names(_) => write!(
            out,
            r#"{{"__name__":"{}","namespace":"team-0000","pod":"app-00000-0","job":"apps"}}"#,
            metric_name(number)
        ),
        Listed::Series(_) => write!(
            out,
            r#"{{"__name__":"application_{}_total","namespace":"team-{:04}","pod":"app-{:05}-7c9f8d6b5c-{number:08}","container":"app","endpoint":"metrics","instance":"10.{}.{}.{}:8080","job":"monitoring/applications","service":"app-{:05}","method":"GET","code":"200","node":"node-{:04}.example.internal","path":"/api/v1/items"}}"#,
            number % 50,
            number % 200,
            number % 20_000,
            number % 250,
            number / 250 % 250,
            number / 62_500 % 250,
            number % 20_000,
            number % 3_000,
        ),
    };
}

/// The names that a selector is for: `name{…}`, or those of its matcher `__name__=~"a|b"`.
fn names_of(selector: &str) -> Vec<String> {
    match selector.split('{').next() {
        Some("") | None => matched(selector, "__name__"),
        Some(name) => vec![name.to_owned()],
    }
}

/// How the metrics of [`Listed::Names`] are called.
pub(crate) fn metric_name(number: usize) -> String {
    format!("application_subsystem_measure_{number:06}")
}

/// The parameters of a name in a query string or a form.
pub(crate) fn parameters(form: &[u8], name: &str) -> Vec<String> {
    let decoded =
        |text: &str| Some(percent_decode_str(&text.replace('+', " ")).decode_utf8().ok()?.into_owned());
    let pairs = std::str::from_utf8(form).unwrap_or_default().split('&');
    let named = pairs
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| decoded(key).as_deref() == Some(name));
    named.filter_map(|(_, value)| decoded(value)).collect()
}

/// The values of a matcher `LABEL="a"` or `LABEL=~"a|b"`.
fn matched(promql: &str, label: &str) -> Vec<String> {
    let after = [format!("{label}=~\""), format!("{label}=\"")]
        .iter()
        .find_map(|start| promql.split_once(start.as_str()).map(|(_, after)| after));
    let values = after.and_then(|after| after.split('"').next()).unwrap_or_default();
    values.split('|').filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

const CHUNK: usize = 64 * 1024;
