//! Whose certificates are believed, what is shown of ourselves, and what is said when that does not do.

use std::fs;
use std::path::{Path, PathBuf};

use adapter::source::prometheus::PrometheusSettings;
use apiservice::authority::{Authority, Issued};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use testkit::rows::each_row_async;
use testkit::scripted::{Server, answer};
use testkit::wire::tls::{self, Identity};

use crate::credentials::kubeconfig;
use crate::{ask, failure, good, refusal, to};

/// Signs certificates.
pub(crate) struct Issuer(Authority);

impl Issuer {
    pub(crate) fn new() -> Issuer {
        Issuer::named("authority")
    }

    fn named(name: &str) -> Issuer {
        Issuer(Authority::new(name).expect("a key"))
    }

    /// A certificate for a name and loopback.
    pub(crate) fn server(&self, name: &str) -> Issued {
        self.0
            .issue_server("server", &[name.to_owned()], &["127.0.0.1".parse().expect("an address")])
            .expect("a key")
    }

    /// Its own certificate, as `ca.crt` in a folder.
    pub(crate) fn file(&self, dir: &Path) -> PathBuf {
        write(dir, "ca.crt", self.0.certificate())
    }
}

/// A certificate that signs itself.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    Issued { certificate: params.self_signed(&key).expect("a certificate").pem(), key: key.serialize_pem() }
}

pub(crate) fn server_config(issued: &Issued) -> ServerConfig {
    config(issued, None)
}

fn config(issued: &Issued, clients: Option<&Authority>) -> ServerConfig {
    let identity = Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).expect("PEM");
    let clients = clients.map(|authority| tls::roots(authority.certificate().as_bytes()).expect("PEM"));
    tls::server(identity, clients).expect("a pair")
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("writable");
    path
}

fn with_ca(url: &str, ca: &Path) -> PrometheusSettings {
    PrometheusSettings { ca_file: Some(ca.to_owned()), ..to(url) }
}

#[tokio::test]
async fn a_certificate_that_is_in_the_bundle_is_believed_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let signed_elsewhere = Issuer::new().server("localhost");
    let rows = [
        ("its own authority", self_signed(|_| {})),
        ("signs itself, no authority", self_signed(|params| params.is_ca = IsCa::ExplicitNoCa)),
        (
            "for servers",
            self_signed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        ("by an authority that is not given", signed_elsewhere),
    ];
    each_row_async(rows, async |(what, issued)| {
        let server = Server::tls(server_config(&issued), |_| good()).await;
        let url = format!("https://localhost:{}", server.port());
        let ca = write(dir.path(), "ca.crt", &issued.certificate);
        ask(with_ca(&url, &ca)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut settings = to(&url);
        let data = format!("certificate-authority-data: {}", STANDARD.encode(&issued.certificate));
        settings.auth = Some(kubeconfig(dir.path(), &data, "token: t"));
        ask(settings).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(server.take().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn names_dates_and_purposes_are_always_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let issuer = Issuer::new();
    let both = |change: fn(&mut CertificateParams)| {
        [true, false].map(|is_ca| {
            (
                is_ca,
                self_signed(|params| {
                    if !is_ca {
                        params.is_ca = IsCa::ExplicitNoCa;
                    }
                    change(params);
                }),
            )
        })
    };
    let rows = [
        (
            "has expired at 2001-02-03T00:00:00Z",
            both(|params| {
                params.not_before = date_time_ymd(2000, 1, 1);
                params.not_after = date_time_ymd(2001, 2, 3);
            }),
        ),
        (
            "is valid only from 2101-02-03T00:00:00Z on: are both clocks right?",
            both(|params| {
                params.not_before = date_time_ymd(2101, 2, 3);
                params.not_after = date_time_ymd(2102, 1, 1);
            }),
        ),
        (
            "is not valid for the name localhost but for other.example, 10.0.0.1",
            both(|params| {
                params.subject_alt_names = vec![
                    rcgen::SanType::DnsName("other.example".try_into().expect("a name")),
                    rcgen::SanType::IpAddress("10.0.0.1".parse().expect("an address")),
                ];
            }),
        ),
        (
            "is not valid for the name localhost: it has no subject alternative name",
            both(|params| {
                params.subject_alt_names.clear();
            }),
        ),
        (
            "is not one for servers: its extended key usage lacks serverAuth",
            both(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
    ];
    each_row_async(rows, async |(expected, certificates)| {
        for (is_ca, issued) in certificates {
            let server = Server::tls(server_config(&issued), |_| good()).await;
            let url = format!("https://localhost:{}", server.port());
            let text = failure(with_ca(&url, &write(dir.path(), "ca.crt", &issued.certificate))).await;
            let expected = format!(
                "cannot reach Prometheus at {url}: the certificate of localhost:{} {expected}",
                server.port()
            );
            assert!(text.starts_with(&expected), "expected {expected}, found {text} (CA: {is_ca})");
            assert!(server.take().is_empty());
        }
    })
    .await;
    // One that is signed properly too.
    let server = Server::tls(server_config(&issuer.server("other.example")), |_| good()).await;
    let text =
        failure(with_ca(&format!("https://localhost:{}", server.port()), &issuer.file(dir.path()))).await;
    assert!(text.ends_with("is not valid for the name localhost but for other.example, 127.0.0.1"), "{text}");
}

#[tokio::test]
async fn unknown_authorities_are_refused_and_the_flag_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let (issuer, successor, other) = (Issuer::new(), Issuer::new(), Issuer::named("other"));
    let ca = other.file(dir.path());
    let expected =
        format!("expected one of --prometheus-ca-file ({}), or a certificate that is in it", ca.display());
    let server = Server::tls(server_config(&issuer.server("localhost")), |_| good()).await;
    let url = format!("https://localhost:{}", server.port());
    let text = failure(with_ca(&url, &ca)).await;
    let certificate = format!("the certificate of localhost:{}", server.port());
    assert!(
        text.ends_with(&format!("{certificate} is signed by an unknown authority; {expected}")),
        "{text}"
    );
    // An authority of the same name with another key, as after its renewal.
    successor.file(dir.path());
    let text = failure(with_ca(&url, &ca)).await;
    let fault = "is not signed by the authority that it names";
    assert!(text.ends_with(&format!("{certificate} {fault}; {expected}")), "{text}");
    let server = Server::tls(server_config(&self_signed(|_| {})), |_| good()).await;
    let text = failure(with_ca(&format!("https://localhost:{}", server.port()), &ca)).await;
    let certificate = format!("the certificate of localhost:{}", server.port());
    assert!(text.ends_with(&format!("{certificate} is that of an authority; {expected}")), "{text}");
}

#[tokio::test]
async fn http_and_https_are_told_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let issuer = Issuer::new();
    let ca = issuer.file(dir.path());
    let closing = Server::deaf(b"").await;
    let closed = format!("https://127.0.0.1:{}", closing.port());
    let in_http = Server::deaf(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let answered = format!("https://127.0.0.1:{}", in_http.port());
    assert_eq!(
        failure(with_ca(&answered, &ca)).await,
        format!("cannot reach Prometheus at {answered}: it does not speak TLS: is it http?")
    );
    assert_eq!(
        failure(with_ca(&closed, &ca)).await,
        format!(
            "cannot reach Prometheus at {closed}: the connection was closed during the TLS handshake: is it http?"
        )
    );
    // A server of TLS answers plain HTTP with an alert.
    let server = Server::tls(server_config(&issuer.server("localhost")), |_| good()).await;
    let url = format!("http://127.0.0.1:{}", server.port());
    assert_eq!(failure(to(&url)).await, format!("Prometheus at {url} did not answer in HTTP: is it https?"));
    // Go's answer with a sentence.
    let go = Server::plain(|_| answer(400, &[], "Client sent an HTTP request to an HTTPS server.\n")).await;
    let text = failure(to(&format!("http://127.0.0.1:{}", go.port()))).await;
    assert!(text.starts_with("Prometheus answered 400 Bad Request"), "{text}");
    assert!(text.contains(&format!("(http://127.0.0.1:{})", go.port())), "{text}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_followed() {
    let dir = tempfile::tempdir().expect("a folder");
    let issuer = Issuer::new();
    let clients = Authority::new("clients").expect("a key");
    let server = Server::tls(config(&issuer.server("localhost"), Some(&clients)), |_| good()).await;
    let url = format!("https://localhost:{}", server.port());
    let ca = issuer.file(dir.path());
    let text = failure(with_ca(&url, &ca)).await;
    assert!(
        text.contains("does it want a client certificate? Give it with --prometheus-client-tls-cert-file"),
        "{text}"
    );
    let pair = clients.issue_client("adapter", &[]).expect("a key");
    let (certificate, key) =
        (write(dir.path(), "tls.crt", &pair.certificate), write(dir.path(), "tls.key", &pair.key));
    let by_flags =
        PrometheusSettings { client_pair: Some((certificate.clone(), key.clone())), ..with_ca(&url, &ca) };
    ask(by_flags.clone()).await.expect("an answer");
    let user = "client-certificate: tls.crt, client-key: tls.key";
    let mut by_kubeconfig = to(&url);
    by_kubeconfig.auth = Some(kubeconfig(dir.path(), "certificate-authority: ca.crt", user));
    ask(by_kubeconfig).await.expect("an answer");
    let user = format!(
        "client-certificate-data: {}, client-key-data: {}",
        STANDARD.encode(&pair.certificate),
        STANDARD.encode(&pair.key)
    );
    let mut by_kubeconfig = to(&url);
    by_kubeconfig.auth = Some(kubeconfig(dir.path(), "certificate-authority: ca.crt", &user));
    ask(by_kubeconfig).await.expect("an answer");
    // Of another authority.
    let stranger = Authority::new("clients").expect("a key").issue_client("adapter", &[]).expect("a key");
    write(dir.path(), "tls.crt", &stranger.certificate);
    let text = refusal(by_flags.clone());
    assert!(
        text.starts_with("expected the key of the certificate in --prometheus-client-tls-cert-file ("),
        "{text}"
    );
    write(dir.path(), "tls.key", &stranger.key);
    let text = failure(by_flags.clone()).await;
    assert!(text.contains("it refused our client certificate ("), "{text}");
    write(dir.path(), "tls.key", "nothing");
    assert!(
        refusal(by_flags.clone())
            .contains("expected a PEM private key in --prometheus-client-tls-key-file (")
    );
    write(dir.path(), "tls.crt", "nothing");
    assert!(refusal(by_flags).contains("expected a PEM certificate in --prometheus-client-tls-cert-file ("));
}

#[tokio::test]
async fn tls_asks_for_the_name_of_the_kubeconfig() {
    let dir = tempfile::tempdir().expect("a folder");
    let issuer = Issuer::new();
    issuer.file(dir.path());
    let server = Server::tls(server_config(&issuer.server("prometheus.example")), |_| good()).await;
    each_row_async(
        [("prometheus.example", "prometheus.example"), ("127.0.0.1", "localhost")],
        async |(name, asked)| {
            let mut settings = to(&format!("https://localhost:{}", server.port()));
            let cluster = format!("certificate-authority: ca.crt, tls-server-name: {name}");
            settings.auth = Some(kubeconfig(dir.path(), &cluster, "token: t"));
            ask(settings).await.expect("an answer");
            let request = server.take_one();
            assert_eq!(request.tls_name.as_deref(), Some(asked));
            assert_eq!(request.header("host"), [format!("localhost:{}", server.port())]);
        },
    )
    .await;
    let mut settings = to(&format!("https://localhost:{}", server.port()));
    let cluster = "certificate-authority: ca.crt, tls-server-name: other.example";
    settings.auth = Some(kubeconfig(dir.path(), cluster, "token: t"));
    let text = failure(settings).await;
    assert!(
        text.contains("is not valid for the name other.example but for prometheus.example, 127.0.0.1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_is_not_checked_where_a_kubeconfig_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::tls(server_config(&Issuer::new().server("other.example")), |_| good()).await;
    let mut settings = to(&format!("https://localhost:{}", server.port()));
    settings.auth = Some(kubeconfig(dir.path(), "insecure-skip-tls-verify: true", "token: t"));
    ask(settings).await.expect("an answer");
    assert_eq!(server.take_one().header("authorization"), ["Bearer t"]);
}

#[tokio::test]
async fn a_bundle_holds_certificates() {
    let dir = tempfile::tempdir().expect("a folder");
    let issuer = Issuer::new();
    let server = Server::tls(server_config(&issuer.server("localhost")), |_| good()).await;
    let url = format!("https://localhost:{}", server.port());
    let key = issuer.server("x").key;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, found) in
        [("", "none"), ("some text", "none"), (&key, "none"), (broken, "invalid peer certificate")]
    {
        let ca = write(dir.path(), "ca.crt", text);
        let expected =
            format!("expected PEM certificates in --prometheus-ca-file ({}), found {found}", ca.display());
        let refused = refusal(with_ca(&url, &ca));
        assert!(refused.starts_with(&expected), "expected {expected}, found {refused}");
    }
    // What cannot be read among others is left out, as Go does.
    let ca = write(dir.path(), "ca.crt", &format!("{broken}{key}{}", issuer.0.certificate()));
    ask(with_ca(&url, &ca)).await.expect("an answer");
}
