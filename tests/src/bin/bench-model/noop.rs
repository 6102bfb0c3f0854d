//! The ceiling: a server that reads a body and answers what it always answers. No server on this stack can be faster.

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use e2e::Failure;

/// Serves until it is ended.
pub(crate) async fn serve(address: &str) -> Result<(), Failure> {
    let router = Router::new().route("/predict", post(predict)).route("/health", get(|| async {}));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router).await?)
}

async fn predict(_body: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], ANSWER)
}

const ANSWER: &str = r#"{"prediction":[0.1234567,-0.1234567],"latency_ms":0.01}"#;
