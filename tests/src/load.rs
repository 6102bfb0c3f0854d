//! Clients that send the next request when the last one is answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::task::JoinSet;

/// Where requests go; may change under way.
type Urls = Arc<RwLock<Vec<String>>>;

/// Load on a set of servers until dropped.
#[derive(Debug)]
pub struct Load {
    clients: JoinSet<()>,
    urls: Urls,
    http: reqwest::Client,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Load {
    /// No load yet on servers' `/predict`.
    pub fn new(servers: &[String]) -> Load {
        let load = Load {
            clients: JoinSet::new(),
            urls: Urls::default(),
            http: reqwest::Client::new(),
            answered: Arc::default(),
            failed: Arc::default(),
        };
        load.set_servers(servers);
        load
    }

    /// Changes the servers: the clients' next requests go to these.
    pub fn set_servers(&self, servers: &[String]) {
        let urls = servers.iter().map(|server| format!("http://{server}/predict")).collect();
        *self.urls.write().unwrap_or_else(PoisonError::into_inner) = urls;
    }

    /// Changes the number of clients; they are spread evenly over the servers.
    pub fn set(&mut self, clients: usize) {
        if clients < self.clients.len() {
            self.clients = JoinSet::new();
        }
        for position in self.clients.len()..clients {
            let urls = Arc::clone(&self.urls);
            let http = self.http.clone();
            let (answered, failed) = (Arc::clone(&self.answered), Arc::clone(&self.failed));
            self.clients.spawn(async move {
                loop {
                    let Some(url) = pick(&urls, position) else {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    };
                    let request = http.post(&url).header("content-type", "application/json").body(BODY);
                    let good = match request.send().await {
                        // The whole answer counts, not only its beginning.
                        Ok(response) if response.status().is_success() => response.bytes().await.is_ok(),
                        Ok(_) | Err(_) => false,
                    };
                    let count = if good { &answered } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                    if !good {
                        // A server that is away answers immediately: no client would hammer it.
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            });
        }
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Requests answered well and others.
    pub fn counts(&self) -> (u64, u64) {
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// The server of a client: they are spread evenly.
fn pick(urls: &Urls, position: usize) -> Option<String> {
    let urls = urls.read().unwrap_or_else(PoisonError::into_inner);
    (!urls.is_empty()).then(|| urls[position % urls.len()].clone())
}

/// A request that every model here takes.
pub const BODY: &str = r#"{"features": [0.1, 0.2, 0.3, 0.4, 0.5]}"#;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
