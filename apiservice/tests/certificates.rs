//! Which cipher suites are offered.

use std::sync::Arc;

use apiservice::authority::Authority;
use apiservice::tls::{self, ServingCertificate, TlsSettings};

/// D20: manifests of upstream name suites that no modern library has.
#[test]
fn cipher_suites_that_are_lacking_are_left_out() {
    let authority = Authority::new("test-ca").expect("a key");
    let issued = authority.issue_server("server", &["localhost".to_owned()], &[]).expect("a key");
    let certificate = ServingCertificate::issued(&issued.certificate, &issued.key).expect("a pair");
    let offered = |names: &[&str]| {
        let cipher_suites = names.iter().map(|&name| name.to_owned()).collect();
        let settings = TlsSettings { cipher_suites, ..TlsSettings::default() };
        let config = tls::server_config(Arc::clone(&certificate), &settings)?;
        let tls12 = config.crypto_provider().cipher_suites.iter().filter(|suite| suite.tls13().is_none());
        Ok::<_, tls::TlsError>(tls12.map(|suite| format!("{:?}", suite.suite())).collect::<Vec<_>>())
    };
    let (known, lacking) = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA");
    assert_eq!(offered(&[lacking, known]).expect("one is left"), [known]);
    assert!(offered(&[]).expect("all that are safe").len() > 1);
    let error = offered(&[lacking]).expect_err("none is left").to_string();
    assert!(
        error.starts_with(r#"none of the cipher suites ["TLS_RSA_WITH_AES_128_CBC_SHA"] is supported"#),
        "{error}"
    );
}
