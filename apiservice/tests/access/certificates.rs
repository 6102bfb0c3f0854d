//! Client certificates: how often a chain is verified, and which user it names.

use std::sync::Arc;

use apiservice::authn::PeerCertificates;
use futures_util::future::join_all;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber, string,
};
use testkit::rows::each_row_async;

use super::{POD, Server, Settings, anonymous, authorities, proxy_settings, user};

/// A leaf of its own maker's and intermediates that all have one authority's name and one key: each can have signed
/// each, and the leaf. A search for a path tries thousands.
fn bush(name: &str, intermediates: u64) -> PeerCertificates {
    let key = KeyPair::generate().expect("a key");
    let named = |common_name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params
    };
    let mut authority = named(name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mut leaf = named("somebody");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let issuer = Issuer::from_params(&authority, &key);
    let own = KeyPair::generate().expect("a key");
    let mut chain = vec![leaf.signed_by(&own, &issuer).expect("a certificate").der().clone()];
    for number in 0..intermediates {
        let mut another = authority.clone();
        another.serial_number = Some(SerialNumber::from(number + 1));
        chain.push(another.signed_by(&key, &issuer).expect("a certificate").der().clone());
    }
    PeerCertificates::new(chain)
}

/// A certificate of the server's clients' authority with these attributes in its subject.
fn with_subject(server: &Server, attributes: Vec<(DnType, DnValue)>) -> PeerCertificates {
    let key = KeyPair::from_pem(server.clients.key()).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(server.clients.certificate(), key).expect("an authority");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in attributes {
        params.distinguished_name.push(kind, value);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = KeyPair::generate().expect("a key");
    super::certificate(&params.signed_by(&own, &issuer).expect("a certificate").pem())
}

/// The same kind of attribute again: a name of rcgen's holds each kind once.
fn again(number: u64) -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, number])
}

const COMMON_NAME: u64 = 3;
const ORGANIZATION: u64 = 10;

#[tokio::test]
async fn a_chain_is_verified_once_for_each_generation_of_authorities() {
    let server = Server::start(&Settings::default());
    let (proxies, clients) = (authorities(&server.proxies), authorities(&server.clients));
    let settings = |authorities| apiservice::authn::FrontProxySettings {
        authorities,
        ..proxy_settings(&server.proxies)
    };
    server.front_proxy.store(Some(Arc::new(settings(proxies.clone()))));
    server.client_authorities.store(Some(Arc::new(clients.clone())));
    let client = server.certified("by-certificate", &["o"]);
    each_row_async([bush("clients", 7), bush("proxies", 7)], async |peer| {
        let before = (proxies.verifications(), clients.verifications());
        // Together and one after the other.
        let codes = join_all((0..20).map(|_| server.send(http::Method::GET, POD, &[], &peer))).await;
        assert!(codes.iter().all(|response| response.code == 401));
        assert_eq!(server.user(&[], &peer).await, Err(401));
        assert_eq!((proxies.verifications(), clients.verifications()), (before.0 + 1, before.1 + 1));
    })
    .await;
    let certified = user("by-certificate", &["o", "system:authenticated"]);
    for _ in 0..3 {
        assert_eq!(server.user(&[], &client).await, Ok(certified.clone()));
    }
    assert_eq!(clients.verifications(), 3);
    // Authorities that are read again, or others, are asked again.
    let again = authorities(&server.clients);
    server.client_authorities.store(Some(Arc::new(again.clone())));
    assert_eq!(server.user(&[], &client).await, Ok(certified));
    assert_eq!((clients.verifications(), again.verifications()), (3, 1));
    server.client_authorities.store(Some(Arc::new(authorities(&server.proxies))));
    assert_eq!(server.user(&[], &client).await, Err(401));
}

#[tokio::test]
async fn a_client_that_gives_up_does_not_have_its_chain_verified_again() {
    let server = Server::start(&Settings::default());
    let clients = authorities(&server.clients);
    server.client_authorities.store(Some(Arc::new(clients.clone())));
    server.front_proxy.store(None);
    let peer = bush("clients", 7);
    for _ in 0..20 {
        // Polled one time, which begins the verification, and dropped.
        let asking = server.send(http::Method::GET, POD, &[], &peer);
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, asking).await.is_err();
        assert!(given_up || clients.verifications() == 1);
    }
    assert_eq!(server.user(&[], &peer).await, Err(401));
    assert_eq!(clients.verifications(), 1);
}

#[tokio::test]
async fn many_hostile_chains_keep_no_valid_one_waiting_without_end() {
    let server = Server::start(&Settings::default());
    let chains: Vec<_> = (0..100).map(|_| bush("clients", 7)).collect();
    let hostile = join_all(chains.iter().map(|peer| server.send(http::Method::GET, POD, &[], peer)));
    let client = server.certified("by-certificate", &[]);
    let (refused, answered) = futures_util::join!(hostile, server.user(&[], &client));
    assert!(answered.is_ok());
    // Those that find no place to wait in are told to come again.
    assert!(refused.iter().all(|response| matches!(response.code, 401 | 429)));
}

#[tokio::test]
async fn the_last_common_name_counts() {
    let server = Server::start(&Settings::default());
    let peer = with_subject(
        &server,
        vec![
            (DnType::CommonName, "allowed-all".into()),
            (again(COMMON_NAME), "harmless".into()),
            (DnType::OrganizationName, "one".into()),
            (again(ORGANIZATION), "two".into()),
        ],
    );
    let expected = user("harmless", &["one", "two", "system:authenticated"]);
    assert_eq!(server.user(&[], &peer).await, Ok(expected));
    // A proxy is known by the same name.
    let mut settings = proxy_settings(&server.clients);
    settings.allowed_names = vec!["allowed-all".to_owned()];
    server.front_proxy.store(Some(Arc::new(settings)));
    server.client_authorities.store(None);
    assert_eq!(server.user(&[("x-remote-user", "alice")], &peer).await, Err(401));
}

#[tokio::test]
async fn a_subject_that_is_not_text_names_no_user() {
    let server = Server::start(&Settings::default());
    let odd = || DnValue::UniversalString(string::UniversalString::try_from("odd").expect("text"));
    let rows = [
        vec![(DnType::CommonName, odd())],
        // Beside one that is text: others might read the other one.
        vec![(DnType::CommonName, odd()), (again(COMMON_NAME), "bob".into())],
        vec![(DnType::CommonName, "bob".into()), (DnType::OrganizationName, odd())],
    ];
    each_row_async(rows, async |attributes| {
        let what = format!("{attributes:?}");
        assert_eq!(server.user(&[], &with_subject(&server, attributes)).await, Err(401), "{what}");
    })
    .await;
    let wide = DnValue::BmpString(string::BmpString::try_from("böb").expect("text"));
    let peer = with_subject(&server, vec![(DnType::CommonName, wide)]);
    assert_eq!(
        server.user(&[], &peer).await,
        Ok(user("böb", &["system:authenticated"])),
        "text of two bytes each"
    );
    assert_eq!(server.user(&[], &PeerCertificates::new(Vec::new())).await, Ok(anonymous()));
}
