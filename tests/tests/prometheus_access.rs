//! A real Prometheus behind TLS, reached by a kubeconfig: its password, and a bearer token that changes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiservice::authority::Authority;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use e2e::component::{component, left_out};
use e2e::prometheus::{PASSWORD, Prometheus, ScrapeTarget, USER};
use e2e::signals::Signals;
use e2e::stack::{self, Adapter};
use e2e::{Failure, api, until};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use testkit::wire::tls::{self, Identity};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const DEPTH: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth";
const RULES: &str = "rules:\n- seriesQuery: depth\n  resources: {template: <<.Resource>>}\n  \
                     metricsQuery: max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";

/// Lets through to a Prometheus who shows the token of the moment.
#[derive(Clone)]
struct Guard {
    prometheus: String,
    client: reqwest::Client,
    token: Arc<Mutex<String>>,
}

impl Guard {
    /// Serves over TLS until the test ends, and gives its URL.
    async fn serve(self, authority: &Authority) -> Result<String, Failure> {
        let issued = authority.issue_server("guard", &[], &[IpAddr::V4(Ipv4Addr::LOCALHOST)])?;
        let identity = Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes())?;
        let config = tls::server(identity, None)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}", listener.local_addr()?);
        let router = Router::new().fallback(forward).with_state(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let service = TowerToHyperService::new(router);
                    // The client may have gone.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(url)
    }
}

async fn forward(
    State(guard): State<Guard>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let expected = format!("Bearer {}", guard.token.lock().expect("not poisoned"));
    if !headers.get_all(header::AUTHORIZATION).iter().eq([expected.as_str()]) {
        return (StatusCode::UNAUTHORIZED, "Unauthorized\n").into_response();
    }
    let url = format!("{}{}?{}", guard.prometheus, uri.path(), query.unwrap_or_default());
    let mut request = guard.client.request(method, url).body(body);
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    match request.send().await {
        Ok(answer) => (answer.status(), answer.bytes().await.unwrap_or_default()).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// A kubeconfig with this user, over the authority in `ca.crt` beside it.
fn kubeconfig(dir: &Path, user: &str) -> Result<String, Failure> {
    let path = dir.join("prometheus.kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: prometheus\n\
         clusters: [{{name: prometheus, cluster: {{server: 'https://prometheus.example:9091', certificate-authority: ca.crt}}}}]\n\
         users: [{{name: prometheus, user: {{{user}}}}}]\n\
         contexts: [{{name: prometheus, context: {{cluster: prometheus, user: prometheus}}}}]\n"
    );
    std::fs::write(&path, text)?;
    Ok(format!("--prometheus-auth-config={}", path.display()))
}

async fn adapter(dir: &Path, url: &str, auth: String) -> Result<Adapter, Failure> {
    let rules = dir.join("rules.yaml");
    std::fs::write(&rules, RULES)?;
    // Each request asks Prometheus, and so shows whether it may.
    let flags = [format!("--prometheus-url={url}"), auth, "--query-sharing=0s".to_owned()];
    stack::start_adapter_with(&rules, &flags, dir).await
}

#[tokio::test]
async fn metrics_answer_by_a_kubeconfig_also_after_the_token_has_changed() -> Result<(), Failure> {
    let Some(program) = component("prometheus") else { return left_out("prometheus") };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let authority = Authority::new("monitoring")?;
    std::fs::write(dir.join("ca.crt"), authority.certificate())?;
    let signals = Signals::start().await;
    signals.set("depth 7\n");
    // Its labels make it a pod of standalone mode.
    let labels = [("namespace", "default"), ("pod", "model-0")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let target = ScrapeTarget { labels, ..signals.target() };
    let prometheus = Prometheus::start_behind_tls(&program, &[target], dir, &authority).await?;
    until("Prometheus has scraped", Duration::from_mins(1), || async {
        Ok(prometheus.query("depth").await?.len() == 1)
    })
    .await?;
    let expected = [("model-0".to_owned(), 7.0)];

    // By password, at Prometheus itself.
    let auth = kubeconfig(dir, &format!("username: {USER}, password: {PASSWORD}"))?;
    let by_password = adapter(dir, &prometheus.url(), auth).await?;
    assert_eq!(api::values(&by_password.api.get(DEPTH).await?.1)?, expected);
    drop(by_password);

    // By a token that changes, at a proxy before it.
    let token = Arc::new(Mutex::new("first".to_owned()));
    std::fs::write(dir.join("token"), "first\n")?;
    let guard = Guard {
        prometheus: prometheus.url(),
        client: prometheus.client().clone(),
        token: Arc::clone(&token),
    };
    let url = guard.serve(&authority).await?;
    let auth = kubeconfig(dir, "tokenFile: token")?;
    let by_token = adapter(dir, &url, auth).await?;
    assert_eq!(api::values(&by_token.api.get(DEPTH).await?.1)?, expected);
    "second".clone_into(&mut token.lock().expect("not poisoned"));
    std::fs::write(dir.join("token"), "second\n")?;
    until("the new token is used", Duration::from_mins(1), || async {
        Ok(by_token.api.get(DEPTH).await?.0 == 200)
    })
    .await?;
    assert_eq!(api::values(&by_token.api.get(DEPTH).await?.1)?, expected);
    // A token that has run out without a new one: the error says which server refused which credential.
    "third".clone_into(&mut token.lock().expect("not poisoned"));
    let (code, status) = by_token.api.get(DEPTH).await?;
    assert_eq!(code, 503, "{status}");
    let message = status["message"].as_str().unwrap_or_default();
    let expected = format!("({url}, asked with the token of the kubeconfig)");
    assert!(message.contains("401 Unauthorized") && message.contains(&expected), "{message}");
    Ok(())
}
