//! What the server shows in a handshake: its certificate and its cipher suites.

use std::sync::{Arc, Mutex};

use apiservice::authority::Authority;
use apiservice::tls::{self, CertificateSource, ServingCertificate, TlsSettings};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use webpki::EndEntityCert;

/// D20: manifests of upstream name suites that no modern library has.
#[test]
fn cipher_suites_that_are_lacking_are_left_out() {
    let authority = Authority::new("test-ca").expect("a key");
    let issued = authority.issue_server("server", &["localhost".to_owned()], &[]).expect("a key");
    let certificate = ServingCertificate::issued(&issued.certificate, &issued.key).expect("a pair");
    let offered = |names: &[&str]| {
        let cipher_suites = names.iter().map(|&name| name.to_owned()).collect();
        let settings = TlsSettings { cipher_suites, ..TlsSettings::default() };
        let config = tls::server_config(certificate.clone(), &settings)?;
        let tls12 = config.crypto_provider().cipher_suites.iter().filter(|suite| suite.tls13().is_none());
        Ok::<_, tls::TlsError>(tls12.map(|suite| format!("{:?}", suite.suite())).collect::<Vec<_>>())
    };
    let (known, lacking) = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA");
    assert_eq!(offered(&[lacking, known]).expect("one is left"), [known]);
    assert!(offered(&[]).expect("all that are safe").len() > 1);
    let error = offered(&[lacking]).expect_err("none is left").to_string();
    assert!(
        error.starts_with("expected at least one of the cipher suites [")
            && error.ends_with(r#"found ["TLS_RSA_WITH_AES_128_CBC_SHA"]"#),
        "{error}"
    );
}

/// D21: the certificate that is made is good for the Service that the aggregator calls.
#[test]
fn a_generated_certificate_is_good_for_the_names_given() {
    let dir = tempfile::tempdir().expect("a folder");
    let given = ["adapter", "adapter.monitoring", "adapter.monitoring.svc"];
    let source = CertificateSource::Generated {
        dir: dir.path().join("certificates"),
        names: given.map(str::to_owned).to_vec(),
        addresses: vec!["192.0.2.1".parse().expect("an address")],
    };
    let chain = ServingCertificate::load(&source).expect("made").chain();
    let certificate = EndEntityCert::try_from(&chain[0]).expect("a certificate");
    let is_good_for = |name: &str| {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        certificate.verify_is_valid_for_subject_name(&name).is_ok()
    };
    for name in given.into_iter().chain(["localhost", "127.0.0.1", "192.0.2.1"]) {
        assert!(is_good_for(name), "{name}");
    }
    assert!(!is_good_for("adapter.other.svc") && !is_good_for("192.0.2.2"));
}

/// Keeps what the server asks for, and shows nothing.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<usize>>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, authorities: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.lock().expect("no code panics while it holds the lock").push(authorities.len());
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// D48: a client that is told which authorities are known might show nothing, where it should be told that its
/// certificate is not good.
#[tokio::test]
async fn a_client_certificate_is_asked_for_and_no_authority_named() {
    let authority = Authority::new("test-ca").expect("a key");
    let issued = authority.issue_server("server", &["localhost".to_owned()], &[]).expect("a key");
    let certificate = ServingCertificate::issued(&issued.certificate, &issued.key).expect("a pair");
    let config = tls::server_config(certificate, &TlsSettings::default()).expect("usable settings");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).expect("a certificate"))
        .expect("an authority");
    let asked = Arc::new(Asked::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("usable settings")
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&asked) as _);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("localhost").expect("a name");
    let (accepted, connected) = tokio::join!(
        TlsAcceptor::from(config).accept(far),
        TlsConnector::from(Arc::new(client)).connect(name, near)
    );
    assert!(accepted.is_ok() && connected.is_ok(), "and no client has to have one");
    assert_eq!(*asked.0.lock().expect("no code panics while it holds the lock"), [0]);
}
