//! Certificates, names, versions and cipher suites.

use std::sync::atomic::Ordering;

use apiservice::tls::{CertificateSource, NamedCertificate, ServingCertificate, TlsSettings};
use rustls::CipherSuite;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};
use testkit::rows::each_row_async;
use testkit::wait::{in_time, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::clients::{shake_hands, shake_hands_with};
use crate::served::{Options, Server, issue, issue_for};

const ANY: &[CipherSuite] = &[];

/// What a server says to a client that speaks no TLS, until it closes.
async fn said_to(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    stream.write_all(bytes).await.expect("the server listens");
    let mut answer = Vec::new();
    in_time("the end of the connection", stream.read_to_end(&mut answer))
        .await
        .expect("an end, and no reset");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn http_without_tls_is_answered_with_a_sentence() {
    let server = Server::start();
    let sentence = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let long = format!("PUT / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(40 << 10));
    for request in
        ["GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n", "HEAD /", "POST /", &long]
    {
        assert_eq!(said_to(&server, request.as_bytes()).await, sentence, "{request:.30}");
    }
    // Go answers these five methods only; the rest is a failed handshake, as ever.
    each_row_async(["SSH-2.0-OpenSSH_9.2\r\n", "get / HTTP/1.1\r\n\r\n"], async |other| {
        assert!(!said_to(&server, other.as_bytes()).await.contains("400"), "{other}");
    })
    .await;
    let client = reqwest::Client::new();
    let plain = client.get(format!("http://{}/healthz", server.address)).send().await.expect("an answer");
    assert_eq!(plain.status(), 400);
    assert_eq!(plain.text().await.expect("a body"), "Client sent an HTTP request to an HTTPS server.\n");
    until("handshakes_failed == 8", || server.stats.handshakes_failed.load(Ordering::Relaxed) == 8).await;
    let healthy = server.client(None).get(format!("{}/healthz", server.url)).send().await;
    assert_eq!(healthy.expect("an answer").status(), 200);
}

#[tokio::test]
async fn each_name_has_its_certificate_and_each_is_followed() {
    let named = |authority: &apiservice::authority::Authority, dir: &std::path::Path| {
        let pair = |name: &str, inside: &str, patterns: &[&str]| {
            let (certificate, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
            issue_for(authority, &[inside], &certificate, &key);
            let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            NamedCertificate { certificate, key, patterns }
        };
        vec![pair("one", "one.example.org", &[]), pair("any", "two.example.org", &["*.example.org"])]
    };
    let server = Server::with(Options { named, ..Options::default() });
    let versions = [&TLS12, &TLS13];
    let called = async |name| shake_hands(&server, name, &versions, ANY).await.expect("a certificate for it");
    let own = server.certificate.chain()[0].clone();
    let (one, two) = (called("one.example.org").await, called("two.example.org").await);
    assert_eq!(called("127.0.0.1").await, own);
    assert!(one != two && one != own && two != own);
    // A rotation of one of them.
    let (certificate, key) = (server.dir.path().join("one.crt"), server.dir.path().join("one.key"));
    issue_for(&server.authority, &["one.example.org", "new.org"], &certificate, &key);
    let mut reloaded = Vec::new();
    for certificate in server.named.all() {
        reloaded.push(certificate.reload().await);
    }
    assert_eq!(reloaded, [false, true, false]);
    assert_ne!(called("one.example.org").await, one);
    assert_eq!(called("two.example.org").await, two);
    // A name that the new certificate brings is served with it.
    assert_eq!(called("new.org").await, called("one.example.org").await);
}

#[tokio::test]
async fn versions_and_suites_are_those_of_the_settings() {
    const AES_256: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    const AES_128: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let with = async |only_tls13, suites: &[&str]| {
        let cipher_suites = suites.iter().map(|&suite| suite.to_owned()).collect();
        let tls = TlsSettings { only_tls13, cipher_suites, ..TlsSettings::default() };
        Server::with(Options { tls, ..Options::default() })
    };
    let server = with(false, &[]).await;
    let ok = async |server: &Server, version, suites: &[CipherSuite]| {
        shake_hands(server, "127.0.0.1", &[version], suites).await.is_ok()
    };
    assert!(ok(&server, &TLS12, ANY).await && ok(&server, &TLS13, ANY).await);
    let server = with(true, &[]).await;
    assert!(!ok(&server, &TLS12, ANY).await && ok(&server, &TLS13, ANY).await);
    // Suites of the library's that Go has and this server lacks are left out; those of TLS 1.3 stay whatever is said.
    let server =
        with(false, &["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]).await;
    assert!(ok(&server, &TLS12, &[AES_256]).await && !ok(&server, &TLS12, &[AES_128]).await);
    assert!(ok(&server, &TLS13, ANY).await);
    let server = with(false, &["TLS_AES_128_GCM_SHA256"]).await;
    assert!(!ok(&server, &TLS12, ANY).await && ok(&server, &TLS13, ANY).await);
    let none = TlsSettings {
        cipher_suites: vec!["TLS_RSA_WITH_AES_128_CBC_SHA".to_owned()],
        ..TlsSettings::default()
    };
    let refused = apiservice::tls::server_config(std::sync::Arc::clone(&server.certificate) as _, &none);
    let error = refused.expect_err("nothing is left").to_string();
    assert!(
        error.starts_with("expected at least one of the cipher suites") && error.contains("TLS_ECDHE"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_certificate_with_too_long_a_chain_fails_the_handshake() {
    let server = Server::start();
    let identity = server.authority.issue_client("somebody", &[]).expect("a key");
    let authority = CertificateDer::from_pem_slice(server.authority.certificate().as_bytes());
    let authority = authority.expect("a certificate");
    assert!(shake_hands_with(&server, &identity, &vec![authority.clone(); 7]).await.is_ok());
    assert!(shake_hands_with(&server, &identity, &vec![authority; 8]).await.is_err(), "nine certificates");
    let names: Vec<String> = (0..950).map(|number| format!("name-{number}.example.org")).collect();
    let large = server.authority.issue_server("large", &names, &[]).expect("a key");
    let large = CertificateDer::from_pem_slice(large.certificate.as_bytes()).expect("a certificate");
    assert!(shake_hands_with(&server, &identity, &[large]).await.is_err(), "more than 16 KiB");
    until("handshakes_failed == 2", || server.stats.handshakes_failed.load(Ordering::Relaxed) == 2).await;
}

#[tokio::test]
async fn a_certificate_is_taken_only_with_its_key() {
    let server = Server::start();
    let before = server.certificate.chain();
    let stats = server.certificate.stats().expect("it is in files");
    assert!(!server.certificate.reload().await && stats.is_valid(), "nothing new");
    let (certificate, key) = (server.dir.path().join("tls.crt"), server.dir.path().join("tls.key"));
    let (new_certificate, new_key) = (server.dir.path().join("new.crt"), server.dir.path().join("new.key"));
    issue(&server.authority, &new_certificate, &new_key);
    // Half of a rotation: the old pair stays in use.
    std::fs::copy(&new_certificate, &certificate).expect("writable");
    assert!(!server.certificate.reload().await && !stats.is_valid(), "no pair");
    let files = CertificateSource::Files { certificate: certificate.clone(), key: key.clone() };
    let error = ServingCertificate::load(&files).expect_err("no pair").to_string();
    assert!(error.contains("does not match certificate"), "{error}");
    assert_eq!(server.certificate.chain(), before);
    std::fs::copy(&new_key, &key).expect("writable");
    assert!(server.certificate.reload().await && stats.is_valid(), "a pair");
    assert_ne!(server.certificate.chain(), before);
    assert_eq!(
        server.admin().get(format!("{}/healthz", server.url)).send().await.expect("an answer").status(),
        200
    );
}

#[test]
fn a_generated_certificate_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let source = CertificateSource::Generated {
        dir: dir.path().join("certificates"),
        names: vec!["adapter.monitoring.svc".to_owned()],
        addresses: Vec::new(),
    };
    let first = ServingCertificate::load(&source).expect("made").chain();
    assert_eq!(ServingCertificate::load(&source).expect("kept").chain(), first);
    std::fs::remove_file(dir.path().join("certificates/apiserver.key")).expect("it is there");
    let error = ServingCertificate::load(&source).expect_err("half a pair").to_string();
    assert!(error.contains("expected both or neither"), "{error}");
}
