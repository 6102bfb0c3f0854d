//! Stands between adapters and Prometheus: keeps what each of them asked, lets all of them ask of one moment, and fails
//! as a test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use http::{HeaderMap, StatusCode, header};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use reqwest::Url;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::comparison::Sample;
use crate::{Failure, until};

/// A proxy on loopback, until dropped.
#[derive(Debug)]
pub struct QueryProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    prometheus: String,
    http: reqwest::Client,
    fault: watch::Sender<Option<Fault>>,
    /// Queries that wait for an answer that never comes.
    hanging: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The time of every query, in seconds since the epoch; the asker's own without.
    time: Option<f64>,
    asked: BTreeMap<String, Asked>,
    /// When each asker was last given a listing of series.
    listed: BTreeMap<String, Instant>,
}

/// How queries fail; listings pass while anybody listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// With this answer.
    Answer {
        /// Its status code.
        code: u16,
        /// Its media type.
        content_type: String,
        /// Its body.
        body: String,
    },
    /// The connection is reset.
    Reset,
    /// No answer ever comes.
    Hang,
    /// Nothing listens.
    Refused,
}

/// What an asker asked, and the samples that it was given.
type Asked = (Vec<String>, Vec<Sample>);

impl QueryProxy {
    /// Starts one in front of a Prometheus.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(prometheus: &str) -> Result<QueryProxy, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            prometheus: prometheus.to_owned(),
            http: reqwest::Client::new(),
            fault: watch::Sender::new(None),
            hanging: AtomicUsize::new(0),
            kept: Mutex::default(),
        });
        let router = Router::new()
            .route("/{asker}/api/v1/{endpoint}", axum::routing::any(forward))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(serve(listener, address, router, shared.fault.subscribe()));
        Ok(QueryProxy { address, shared, task })
    }

    /// Where an asker finds Prometheus.
    pub fn url(&self, asker: &str) -> String {
        format!("http://{}/{asker}", self.address)
    }

    /// From now on every query is of this moment, in seconds since the epoch.
    pub fn pin(&self, time: f64) {
        self.shared.kept().time = Some(time);
    }

    /// From now on every query fails so, or none.
    ///
    /// # Errors
    /// Its port could not be given back or taken again.
    pub async fn set_fault(&self, fault: Option<Fault>) -> Result<(), Failure> {
        let refused = fault == Some(Fault::Refused);
        self.shared.fault.send_replace(fault);
        until("the proxy listens or not", Duration::from_secs(10), || async {
            Ok(TcpStream::connect(self.address).await.is_err() == refused)
        })
        .await
    }

    /// How many queries wait for an answer that never comes ([`Fault::Hang`]).
    pub fn hanging(&self) -> usize {
        self.shared.hanging.load(Ordering::Relaxed)
    }

    /// How long ago an asker was last given a listing of series; `None` if it never was.
    pub fn since_listing(&self, asker: &str) -> Option<Duration> {
        self.shared.kept().listed.get(asker).map(Instant::elapsed)
    }

    /// What an asker queried since this was last asked, and the samples that it was given.
    pub fn take(&self, asker: &str) -> (Vec<String>, Vec<Sample>) {
        self.shared.kept().asked.remove(asker).unwrap_or_default()
    }
}

impl Drop for QueryProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts a hanging query until its asker goes away.
struct Hanging(Arc<Shared>);

impl Hanging {
    fn new(shared: Arc<Shared>) -> Hanging {
        shared.hanging.fetch_add(1, Ordering::Relaxed);
        Hanging(shared)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a connection to end immediately.
type Cut = Arc<Notify>;

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    mut fault: watch::Receiver<Option<Fault>>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if *fault.borrow_and_update() == Some(Fault::Refused) {
            listener = None;
            connections.shutdown().await;
            if fault.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => match TcpListener::bind(address).await {
                Ok(open) => open,
                Err(error) => return eprintln!("the proxy cannot listen again: {error}"),
            },
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, router.clone()));
                }
            }
            changed = fault.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        listener = Some(open);
    }
}

async fn connection(stream: TcpStream, router: Router) {
    // So that closing it resets it, where it is closed before its time.
    if let Err(error) = stream.set_zero_linger() {
        return eprintln!("the proxy cannot reset connections: {error}");
    }
    let cut = Cut::default();
    let service = TowerToHyperService::new(router.layer(Extension(Arc::clone(&cut))));
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // The caller may have gone.
        _ = serving => {}
        () = cut.notified() => {}
    }
}

async fn forward(
    State(shared): State<Arc<Shared>>,
    Extension(cut): Extension<Cut>,
    Path((asker, endpoint)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let fault = shared.fault.borrow().clone().filter(|_| endpoint == "query");
    match fault {
        None => {}
        Some(Fault::Answer { code, content_type, body }) => {
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (code, [(header::CONTENT_TYPE, content_type)], body).into_response();
        }
        Some(Fault::Reset) => {
            cut.notify_one();
            return std::future::pending().await;
        }
        Some(Fault::Hang | Fault::Refused) => {
            let _hanging = Hanging::new(shared);
            return std::future::pending().await;
        }
    }
    let form = format!("{}&{}", query.unwrap_or_default(), String::from_utf8_lossy(&body));
    match ask(&shared, asker, &endpoint, &form).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn ask(shared: &Shared, asker: String, endpoint: &str, form: &str) -> Result<Response, Failure> {
    let mut url = Url::parse(&format!("{}/api/v1/{endpoint}", shared.prometheus))?;
    let given = Url::parse(&format!("http://form/?{form}"))?;
    let mut parameters: Vec<(String, String)> = given.query_pairs().into_owned().collect();
    let promql = match endpoint {
        "query" => parameters.iter().find(|(name, _)| name == "query").map(|(_, promql)| promql.clone()),
        _ => None,
    };
    if let (Some(_), Some(time)) = (&promql, shared.kept().time) {
        parameters.retain(|(name, _)| name != "time");
        parameters.push(("time".to_owned(), time.to_string()));
    }
    // An empty timeout is none to Prometheus' mind, but only in a form.
    parameters.retain(|(_, value)| !value.is_empty());
    url.query_pairs_mut().extend_pairs(parameters);
    let answer = shared.http.get(url).send().await?;
    let status = answer.status();
    let mut headers = HeaderMap::new();
    if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, kind.clone());
    }
    let body = answer.bytes().await?;
    let mut kept = shared.kept();
    if endpoint == "series" {
        kept.listed.insert(asker.clone(), Instant::now());
    }
    if let Some(promql) = promql {
        let (queries, samples) = kept.asked.entry(asker).or_default();
        queries.push(promql);
        samples.extend(samples_of(&body));
    }
    Ok((status, headers, body).into_response())
}

/// The samples of an instant vector, or the one of a scalar; of anything else none.
fn samples_of(body: &[u8]) -> Vec<Sample> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let value = |pair: &Value| pair[1].as_str().and_then(|text| text.parse().ok());
    let data = &answer["data"];
    if data["resultType"] == "scalar" {
        return value(&data["result"])
            .map(|value| Sample { labels: BTreeMap::new(), value })
            .into_iter()
            .collect();
    }
    let entries = data["result"].as_array().map_or(&[][..], Vec::as_slice);
    let sample = |entry: &Value| {
        let labels = entry["metric"].as_object()?.iter();
        let labels =
            labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        Some(Sample { labels: labels.collect(), value: value(&entry["value"])? })
    };
    entries.iter().filter_map(sample).collect()
}
