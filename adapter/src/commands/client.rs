//! What commands ask a server by: GETs of paths, through kube-apiserver with the kubeconfig that kubectl would use or
//! the one that is given, or at the server's own URL.

use std::path::Path;

use axum::BoxError;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use kube::config::KubeConfigOptions;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::de::DeserializeOwned;
use serve::files;

use crate::config::{ClusterAccess, ServerAccess, UrlAccess};
use crate::kubeconfig::{self, KubeconfigError};

/// Asks one cluster.
pub(super) struct Client {
    client: kube::Client,
}

/// An answer of any status.
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: Bytes,
}

/// Why a cluster cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The kubeconfig that was given cannot be read.
    #[error("cannot read the kubeconfig {path}")]
    Read {
        path: String,
        #[source]
        cause: KubeconfigError,
    },
    /// A file for the access to a URL cannot be read.
    #[error("cannot read {path}")]
    File {
        path: String,
        #[source]
        cause: std::io::Error,
    },
    /// A file of certificates holds none, or something else.
    #[error("expected PEM certificates in {path}, found none that can be read")]
    NoCertificates { path: String },
    /// A kubeconfig gives no access.
    #[error("cannot use the kubeconfig")]
    Access(#[from] kube::config::KubeconfigError),
    /// There is none.
    #[error(
        "cannot find a cluster: expected --kubeconfig FILE, KUBECONFIG, ~/.kube/config or a pod's service account"
    )]
    None(#[from] kube::config::InferConfigError),
    /// The API cannot be asked at all, or did not answer.
    #[error("cannot ask the Kubernetes API")]
    Kube(#[from] kube::Error),
    /// The answer ended early, or is too long.
    #[error("cannot read the answer to {path}")]
    Body {
        path: String,
        #[source]
        cause: BoxError,
    },
    /// The answer is an error.
    #[error("{path} is answered with {code}: {message}")]
    Status { path: String, code: u16, message: String },
    /// The answer is not what the path should lead to.
    #[error("cannot read the answer to {path}")]
    Form {
        path: String,
        #[source]
        cause: serde_json::Error,
    },
}

impl Client {
    pub(super) async fn new(access: &ClusterAccess) -> Result<Client, ClientError> {
        let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match (&access.kubeconfig, &access.context) {
            (Some(path), _) => {
                let read = kubeconfig::read(path)
                    .map_err(|cause| ClientError::Read { path: path.display().to_string(), cause })?;
                kube::Config::from_custom_kubeconfig(read, &options).await?
            }
            (None, Some(_)) => kube::Config::from_kubeconfig(&options).await?,
            (None, None) => kube::Config::infer().await?,
        };
        // A person waits for the answer.
        config.default_retry = false;
        Ok(Client { client: kube::Client::try_from(config)? })
    }

    /// A client of either kind.
    pub(super) async fn of(access: &ServerAccess) -> Result<Client, ClientError> {
        match access {
            ServerAccess::Cluster(access) => Client::new(access).await,
            ServerAccess::Url(access) => Client::at(access),
        }
    }

    fn at(access: &UrlAccess) -> Result<Client, ClientError> {
        let UrlAccess { url, token_file, ca_file, insecure } = access;
        let mut config = kube::Config::new(url.clone());
        config.default_retry = false;
        config.accept_invalid_certs = *insecure;
        let read = |path: &Path| {
            files::read_text(path, LARGEST_FILE)
                .map_err(|cause| ClientError::File { path: path.display().to_string(), cause })
        };
        if let Some(path) = token_file {
            config.auth_info.token = Some(read(path)?.trim().to_owned().into());
        }
        if let Some(path) = ca_file {
            let text = read(path)?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
            let certificates = certificates.unwrap_or_default();
            if certificates.is_empty() {
                return Err(ClientError::NoCertificates { path: path.display().to_string() });
            }
            config.root_cert = Some(certificates.iter().map(|certificate| certificate.to_vec()).collect());
        }
        Ok(Client { client: kube::Client::try_from(config)? })
    }

    /// The namespace of the kubeconfig's context.
    pub(super) fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    pub(super) fn kube(&self) -> kube::Client {
        self.client.clone()
    }

    /// The answer to a GET, whatever its status.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        let unreadable = |cause: BoxError| ClientError::Body { path: path.to_owned(), cause };
        let request = Request::get(path)
            .header(http::header::ACCEPT, "application/json, */*")
            .body(Body::empty())
            .map_err(|error| unreadable(error.into()))?;
        let response = self.client.send(request).await?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await.map_err(unreadable)?;
        Ok(Answer { code, body: body.to_bytes() })
    }

    /// The object at a path.
    pub(super) async fn object<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.get(path).await?;
        if answer.code != 200 {
            let (path, code, message) = (path.to_owned(), answer.code, answer.message());
            return Err(ClientError::Status { path, code, message });
        }
        serde_json::from_slice(&answer.body)
            .map_err(|cause| ClientError::Form { path: path.to_owned(), cause })
    }
}

impl Answer {
    /// The message of a Kubernetes `Status`, else the first line of the body.
    pub(super) fn message(&self) -> String {
        let status: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let message = status.as_ref().and_then(|status| status["message"].as_str()).map(str::to_owned);
        message.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&self.body);
            text.lines().next().unwrap_or_default().chars().take(500).collect()
        })
    }
}

/// A segment of a path, or a value of a parameter, as a URL holds it.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// All but what a URL holds as it is, and `*`, which names all objects of a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');
/// Of certificates or a token, in bytes.
const LARGEST_FILE: usize = 1 << 20;
/// In bytes: more than the adapter's largest answer.
const LONGEST_ANSWER: usize = 32 << 20;
