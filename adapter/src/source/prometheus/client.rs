//! The HTTP client and what it proves itself with. Files are looked at again at most every ten seconds, by content.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::{Certificate, Identity};
use tokio::sync::Mutex;

use super::PrometheusSettings;
use crate::source::{SourceError, SourceErrorClass};

/// A client that follows its files.
pub(super) struct Client {
    ca_file: Option<PathBuf>,
    client_pair: Option<(PathBuf, PathBuf)>,
    token_file: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    client: reqwest::Client,
    files: TlsFiles,
    token: Option<String>,
    looked_at: Instant,
}

/// The contents of the TLS files.
#[derive(PartialEq, Eq, Default)]
struct TlsFiles {
    ca: Option<Vec<u8>>,
    pair: Option<Vec<u8>>,
}

impl Client {
    pub(super) fn new(settings: &PrometheusSettings) -> Result<Client, SourceError> {
        let PrometheusSettings { ca_file, client_pair, token_file, .. } = settings.clone();
        let files = TlsFiles::read(ca_file.as_deref(), client_pair.as_ref())?;
        let token = token_file.as_deref().map(read_token).transpose()?;
        let state = State { client: build(&files)?, files, token, looked_at: Instant::now() };
        Ok(Client { ca_file, client_pair, token_file, state: Mutex::new(state) })
    }

    /// The client to use now.
    pub(super) async fn current(&self) -> Result<reqwest::Client, SourceError> {
        let mut state = self.state.lock().await;
        if state.looked_at.elapsed() >= LOOK_AGAIN {
            state.looked_at = Instant::now();
            self.refresh(&mut state);
        }
        Ok(state.client.clone())
    }

    /// The bearer token to send now.
    pub(super) async fn token(&self) -> Result<Option<String>, SourceError> {
        Ok(self.state.lock().await.token.clone())
    }

    /// A file that is broken at the moment, in the middle of a rotation say, leaves what was read before in use.
    fn refresh(&self, state: &mut State) {
        let files = TlsFiles::read(self.ca_file.as_deref(), self.client_pair.as_ref());
        match files.and_then(|files| Ok((build_if_changed(&state.files, &files)?, files))) {
            Ok((Some(client), files)) => {
                tracing::info!("certificates for Prometheus reloaded");
                state.client = client;
                state.files = files;
            }
            Ok((None, _)) => {}
            Err(error) => tracing::warn!(%error, "the certificates for Prometheus read before stay in use"),
        }
        match self.token_file.as_deref().map(read_token).transpose() {
            Ok(token) => state.token = token,
            Err(error) => tracing::warn!(%error, "the token for Prometheus read before stays in use"),
        }
    }
}

impl TlsFiles {
    fn read(ca_file: Option<&Path>, pair: Option<&(PathBuf, PathBuf)>) -> Result<TlsFiles, SourceError> {
        let pair = match pair {
            None => None,
            Some((certificate, key)) => {
                let mut both = read(certificate)?;
                both.push(b'\n');
                both.extend(read(key)?);
                Some(both)
            }
        };
        Ok(TlsFiles { ca: ca_file.map(read).transpose()?, pair })
    }
}

fn build_if_changed(before: &TlsFiles, now: &TlsFiles) -> Result<Option<reqwest::Client>, SourceError> {
    if before == now { Ok(None) } else { build(now).map(Some) }
}

fn build(files: &TlsFiles) -> Result<reqwest::Client, SourceError> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(ca) = &files.ca {
        let authorities = Certificate::from_pem_bundle(ca).map_err(|error| {
            refuse(format!("expected PEM certificates in the CA file for Prometheus: {error}"))
        })?;
        builder = builder.tls_certs_only(authorities);
    }
    if let Some(pair) = &files.pair {
        let identity = Identity::from_pem(pair).map_err(|error| {
            refuse(format!(
                "expected a PEM certificate and its key in the client files for Prometheus: {error}"
            ))
        })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| refuse(format!("no HTTP client for Prometheus can be made: {error}")))
}

/// A trailing newline would make an invalid header.
fn read_token(path: &Path) -> Result<String, SourceError> {
    let token = String::from_utf8(read(path)?)
        .map_err(|_| refuse(format!("expected text in the token file {}", path.display())))?;
    match token.trim() {
        "" => Err(refuse(format!("expected a token in {}, found nothing", path.display()))),
        token => Ok(token.to_owned()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    std::fs::read(path).map_err(|error| refuse(format!("cannot read {}: {error}", path.display())))
}

fn refuse(message: String) -> SourceError {
    SourceError::new(SourceErrorClass::Unavailable, message)
}

const LOOK_AGAIN: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_CONNECTIONS: usize = 64;

#[cfg(test)]
mod tests {
    use std::fs;

    use apiservice::authority::Authority;

    use super::*;
    use crate::source::prometheus::Verb;

    /// As if the time to look again had come.
    async fn look_again(client: &Client) {
        let mut state = client.state.lock().await;
        client.refresh(&mut state);
    }

    #[tokio::test]
    async fn files_are_followed_and_what_is_broken_is_not_taken() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a folder");
        let (ca, token) = (dir.path().join("ca.crt"), dir.path().join("token"));
        let authority = |name| Authority::new(name).expect("a key").certificate().to_owned();
        let (first, second) = (authority("first"), authority("second"));
        fs::write(&ca, &first).expect("writable");
        fs::write(&token, "one\n").expect("writable");
        let client = Client::new(&PrometheusSettings {
            url: "https://127.0.0.1:9090".parse().expect("a URL"),
            verb: Verb::Get,
            headers: Vec::new(),
            token_file: Some(token.clone()),
            ca_file: Some(ca.clone()),
            client_pair: None,
            timeout: Duration::from_secs(1),
        })
        .expect("good files");
        let authorities = async || client.state.lock().await.files.ca.clone().expect("a bundle");
        assert_eq!(client.token().await.expect("a token").as_deref(), Some("one"));

        fs::write(&ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("writable");
        fs::write(&token, " \n").expect("writable");
        look_again(&client).await;
        assert_eq!(authorities().await, first.as_bytes());
        assert_eq!(client.token().await.expect("a token").as_deref(), Some("one"));

        fs::write(&ca, &second).expect("writable");
        fs::write(&token, "two").expect("writable");
        look_again(&client).await;
        assert_eq!(authorities().await, second.as_bytes());
        assert_eq!(client.token().await.expect("a token").as_deref(), Some("two"));
    }
}
