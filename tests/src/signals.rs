//! A scrape target whose metrics are whatever a test says.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Failure;
use crate::prometheus::ScrapeTarget;

/// Metrics on loopback, until dropped.
#[derive(Debug)]
pub struct Signals {
    text: Arc<Mutex<String>>,
    address: String,
    task: JoinHandle<()>,
}

impl Signals {
    /// Exposes nothing yet.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Signals, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let body = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                tokio::spawn(answer(stream, body));
            }
        });
        Ok(Signals { text, address, task })
    }

    /// Exposes a text from now on.
    pub fn set(&self, text: impl Into<String>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    /// As a target, without labels of its own: the text brings them.
    pub fn target(&self) -> ScrapeTarget {
        ScrapeTarget { address: self.address.clone(), labels: Vec::new() }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, body: String) {
    let mut request = Vec::new();
    let mut part = [0; 2048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&part[..count]),
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // A scraper that left before the end is no concern of ours.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
}
