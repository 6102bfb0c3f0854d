//! Why Prometheus was not reached or did not answer, as sentences that say what to look at.

use std::error::Error as StdError;
use std::time::Instant;

use reqwest::Url;
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, PeerIncompatible};

use super::access::{Access, Trust};
use super::proxy::Proxy;
use crate::source::{SourceError, SourceErrorClass};

/// Who was asked, and how.
pub(super) struct Peer<'a> {
    pub(super) url: &'a Url,
    pub(super) proxy: Option<&'a Proxy>,
    pub(super) access: &'a Access,
}

impl Peer<'_> {
    /// `http://prometheus:9090`, and the proxy before it.
    pub(super) fn place(&self) -> String {
        let place = origin(self.url);
        match self.proxy {
            Some(proxy) => format!("{place} through the proxy {proxy}"),
            None => place,
        }
    }

    /// A request that had no answer.
    pub(super) fn failed(&self, error: &reqwest::Error) -> SourceError {
        let place = self.place();
        if error.is_timeout() {
            let what = if error.is_connect() { "cannot connect to" } else { "no answer from" };
            return SourceError::new(
                SourceErrorClass::Silent,
                format!("{what} Prometheus at {place} in time"),
            );
        }
        let tls = causes(error).find_map(tls_error);
        let message = if let Some(tls) = tls {
            format!("cannot reach Prometheus at {place}: {}", self.sentence(tls))
        } else if error.is_connect() {
            let hint = if self.url.scheme() == "https" && broke_off(error) {
                ": the connection was closed during the TLS handshake: is it http?".to_owned()
            } else {
                cause(error)
            };
            format!("cannot reach Prometheus at {place}{hint}")
        } else if causes(error).any(is_not_http) && self.url.scheme() == "http" {
            format!("Prometheus at {place} did not answer in HTTP: is it https?")
        } else {
            format!("Prometheus at {place} did not answer{}", cause(error))
        };
        SourceError::new(SourceErrorClass::Unreachable, message)
    }

    /// What went wrong in TLS.
    fn sentence(&self, error: &TlsError) -> String {
        let host = self.access.server_name.as_deref().or(self.url.host_str()).unwrap_or_default();
        let certificate = format!("the certificate of {}", host_and_port(self.url));
        match error {
            TlsError::InvalidCertificate(fault) => {
                format!("{certificate} {}", self.of_certificate(fault, host))
            }
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
                "it does not speak TLS: is it http?".to_owned()
            }
            TlsError::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
            | TlsError::AlertReceived(AlertDescription::ProtocolVersion) => {
                "it speaks neither TLS 1.2 nor TLS 1.3".to_owned()
            }
            TlsError::AlertReceived(alert) => self.of_alert(*alert, host),
            TlsError::General(text) => text.clone(),
            error => error.to_string(),
        }
    }

    fn of_certificate(&self, fault: &CertificateError, host: &str) -> String {
        let expected = match &self.access.trust {
            Trust::Authorities(material) => {
                format!("expected one of {}, or a certificate that is in it", material.place())
            }
            Trust::System | Trust::Anyone => "give that authority with --prometheus-ca-file".to_owned(),
        };
        match fault {
            CertificateError::UnknownIssuer => format!("is signed by an unknown authority; {expected}"),
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("has expired at {}", date(not_after.as_secs()))
            }
            CertificateError::Expired => "has expired".to_owned(),
            CertificateError::NotValidYetContext { not_before, .. } => {
                format!("is valid only from {} on: are both clocks right?", date(not_before.as_secs()))
            }
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => format!(
                "is not valid for the name {host}: it has no subject alternative name, and its common name is not looked at"
            ),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                format!("is not valid for the name {host} but for {}", names.join(", "))
            }
            CertificateError::NotValidForName => format!("is not valid for the name {host}"),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "is not one for servers: its extended key usage lacks serverAuth".to_owned()
            }
            CertificateError::BadSignature => {
                format!("is not signed by the authority that it names; {expected}")
            }
            CertificateError::BadEncoding => "cannot be read".to_owned(),
            // WebPKI says so of an authority's certificate.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                format!("is that of an authority; {expected}")
            }
            other => format!("is not accepted: {other}"),
        }
    }

    fn of_alert(&self, alert: AlertDescription, host: &str) -> String {
        let about_us = matches!(
            alert,
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::HandshakeFailure
                | AlertDescription::DecryptError
        );
        match alert {
            AlertDescription::UnrecognisedName => format!("it does not know the name {host}"),
            _ if about_us && self.access.identity.is_none() => format!(
                "it refused the TLS handshake ({alert:?}): does it want a client certificate? Give it with \
                 --prometheus-client-tls-cert-file and --prometheus-client-tls-key-file"
            ),
            _ if about_us => format!("it refused our client certificate ({alert:?})"),
            _ => format!("it ended the TLS handshake ({alert:?})"),
        }
    }
}

/// An answer that broke off on its way.
pub(super) fn broken_off(error: &reqwest::Error) -> SourceError {
    if error.is_timeout() {
        return SourceError::new(SourceErrorClass::Silent, "Prometheus did not answer in time");
    }
    SourceError::new(
        SourceErrorClass::Unavailable,
        format!("the answer of Prometheus broke off{}", cause(error)),
    )
}

/// Scheme, host and port, also where the port is the scheme's own: a port that was forgotten shows.
pub(super) fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), host_and_port(url))
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An error and what is below it. An `io::Error` hides what it was made of from `source`.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let inner = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        match inner {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
    error.downcast_ref()
}

/// The peer closed the connection in the middle.
fn broke_off(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|error| error.downcast_ref::<std::io::Error>()).any(|error| {
        matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset)
    })
}

fn is_not_http(error: &(dyn StdError + 'static)) -> bool {
    error.to_string().starts_with("invalid HTTP")
}

/// The causes, outermost first, without those that only say that there is one below; each text once.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    // The outermost one names the URL, which may hold credentials.
    for text in causes(error).skip(1).map(ToString::to_string) {
        let known = texts.last().is_some_and(|outer| outer.contains(&text));
        if !known && !LAYERS.contains(&text.as_str()) {
            texts.push(text);
        }
    }
    texts.into_iter().fold(String::new(), |whole, text| whole + ": " + &text)
}

/// `DnsName("prometheus")` and `IpAddress(127.0.0.1)` as `WebPKI` writes them, without its words.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

fn date(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("second {seconds}"), |time| time.to_string())
}

/// Texts of the HTTP library's layers that say nothing by themselves.
const LAYERS: [&str; 6] = [
    "client error (Connect)",
    "client error (SendRequest)",
    "client error (Canceled)",
    "tcp connect error",
    "dns error",
    "request or response body error",
];

/// The answer, unless the deadline comes before it.
pub(super) async fn within<T>(deadline: Instant, answer: impl Future<Output = T>) -> Result<T, SourceError> {
    tokio::time::timeout_at(deadline.into(), answer)
        .await
        .map_err(|_| SourceError::new(SourceErrorClass::Silent, "Prometheus did not answer in time"))
}
