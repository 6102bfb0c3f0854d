//! A scrape target whose metrics are whatever a test says.

use std::sync::{Arc, Mutex, PoisonError};

use testkit::scripted::{Server, answer};

use crate::prometheus::ScrapeTarget;

/// Metrics on loopback, until dropped.
#[derive(Debug)]
pub struct Signals {
    text: Arc<Mutex<String>>,
    server: Server,
}

impl Signals {
    /// Exposes nothing yet.
    pub async fn start() -> Signals {
        let text = Arc::new(Mutex::new(String::new()));
        let exposed = Arc::clone(&text);
        let server = Server::plain(move |_| {
            let text = exposed.lock().unwrap_or_else(PoisonError::into_inner);
            answer(200, &[("content-type", "text/plain; version=0.0.4")], &*text)
        })
        .await;
        Signals { text, server }
    }

    /// Exposes a text from now on.
    pub fn set(&self, text: impl Into<String>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    /// As a target, without labels of its own: the text brings them.
    pub fn target(&self) -> ScrapeTarget {
        ScrapeTarget { address: self.server.address.to_string(), labels: Vec::new() }
    }
}
