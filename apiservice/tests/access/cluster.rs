//! The authentication settings of the cluster (`docs/contract.md#front-proxy`): its ConfigMap is read and followed.

use std::time::Duration;

use apiservice::authn::ClusterAuthentication;
use apiservice::health::{Endpoint, Health, Scope};
use serde_json::{Value, json};
use testkit::rows::each_row_async;
use testkit::wait::until_async;
use tokio::time::Instant;

use super::fake::{CONFIG_MAPS, Reply, failure};
use super::{Authority, PeerCertificates, Server, Settings, anonymous, user};

const REMOTE: [(&str, &str); 2] = [("x-remote-user", "alice"), ("x-remote-uid", "42")];

/// A server that knows only what the ConfigMap says.
struct Following {
    server: Server,
    health: Health,
}

impl Following {
    fn start(server: Server, client: kube::Client, tolerate: bool) -> Following {
        server.front_proxy.store(None);
        server.client_authorities.store(None);
        let health = Health::default();
        let read = health.check("authentication-settings", Scope::Ready);
        let from_cluster = ClusterAuthentication {
            front_proxy: Some(server.front_proxy.clone()),
            client_authorities: Some(server.client_authorities.clone()),
        };
        tokio::spawn(from_cluster.follow(client, read, tolerate));
        Following { server, health }
    }

    async fn ready(&self) {
        until_async("the settings are read", async || self.is_ready()).await;
    }

    fn is_ready(&self) -> bool {
        self.health.passes(Endpoint::Readyz)
    }
}

/// As kube-apiserver publishes it.
fn published(clients: &Authority, proxies: &Authority) -> Value {
    json!({
        "client-ca-file": clients.certificate(),
        "requestheader-client-ca-file": proxies.certificate(),
        "requestheader-allowed-names": r#"["front-proxy-client"]"#,
        "requestheader-username-headers": r#"["X-Remote-User"]"#,
        "requestheader-group-headers": r#"["X-Remote-Group"]"#,
        "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
        "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
    })
}

#[tokio::test]
async fn the_settings_are_read_and_changes_apply() {
    let api = super::FakeApi::new();
    let client = api.client_over_loopback().await;
    let server = Server::asking(api, client.clone(), &Settings::default());
    let mut data = published(&server.clients, &server.proxies);
    server.api.config_map(&data);
    let following = Following::start(server, client, false);
    following.ready().await;
    let server = &following.server;
    let asked = server.api.asked(CONFIG_MAPS);
    assert!(
        asked[0].query.contains("fieldSelector=metadata.name%3Dextension-apiserver-authentication"),
        "{}",
        asked[0].query
    );
    let mut alice = user("alice", &["system:authenticated"]);
    alice.uid = "42".to_owned();
    let proxy = server.proxy("front-proxy-client");
    assert_eq!(server.user(&REMOTE, &proxy).await, Ok(alice.clone()));
    let client = server.certified("bob", &["dev"]);
    assert_eq!(server.user(&[], &client).await, Ok(user("bob", &["dev", "system:authenticated"])));

    // Another allowed name; clusters before 1.32 publish no header for identifiers.
    data["requestheader-allowed-names"] = r#"["other-proxy"]"#.into();
    data.as_object_mut().expect("an object").remove("requestheader-uid-headers");
    server.api.config_map(&data);
    until_allowed(server, &["other-proxy"]).await;
    assert_eq!(server.user(&REMOTE, &proxy).await, Err(401));
    alice.uid = String::new();
    assert_eq!(server.user(&REMOTE, &server.proxy("other-proxy")).await, Ok(alice));

    // Rotated authorities.
    let next = Authority::new("next").expect("a key");
    let bundle = format!("{}{}", server.clients.certificate(), next.certificate());
    data["client-ca-file"] = bundle.into();
    data["requestheader-allowed-names"] = r#"["third-proxy"]"#.into();
    server.api.config_map(&data);
    until_allowed(server, &["third-proxy"]).await;
    for authority in [&server.clients, &next] {
        let peer = super::peer(authority, "bob", &["dev"]);
        assert_eq!(server.user(&[], &peer).await, Ok(user("bob", &["dev", "system:authenticated"])));
    }
}

#[tokio::test]
async fn a_value_that_makes_no_sense_leaves_what_was_in_force() {
    let server = Server::start(&Settings::default());
    let good = published(&server.clients, &server.proxies);
    server.api.config_map(&good);
    let client = server.api.client();
    let following = Following::start(server, client, false);
    following.ready().await;
    let server = &following.server;
    let (proxy, certified) = (server.proxy("front-proxy-client"), server.certified("bob", &[]));
    let marker = Authority::new("marker").expect("a key");
    let marked = super::peer(&marker, "marker", &[]);
    let rows = [
        ("requestheader-client-ca-file", "no certificate"),
        ("requestheader-client-ca-file", ""),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-username-headers", r#"["not a header"]"#),
        ("requestheader-group-headers", r#"{"a":1}"#),
    ];
    each_row_async(rows, async |(key, value)| {
        let mut broken = good.clone();
        broken[key] = value.into();
        // The other part shows that the change was seen: what is good of it applies.
        broken["client-ca-file"] = format!("{}{}", server.clients.certificate(), marker.certificate()).into();
        server.api.config_map(&broken);
        until_known(server, &marked, Some("marker")).await;
        assert!(server.user(&REMOTE, &proxy).await.is_ok(), "{key}={value}");
        server.api.config_map(&good);
        until_known(server, &marked, None).await;
    })
    .await;
    let mut broken = good.clone();
    broken["client-ca-file"] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into();
    broken["requestheader-allowed-names"] = "[]".into();
    server.api.config_map(&broken);
    until_allowed(server, &[]).await;
    assert!(server.user(&[], &certified).await.is_ok());
}

/// Waits until the front proxies of these names are believed.
async fn until_allowed(server: &Server, names: &[&str]) {
    let allowed = async || {
        let settings = server.front_proxy.load();
        settings.as_ref().is_some_and(|settings| settings.allowed_names == names)
    };
    until_async("the names are known", allowed).await;
}

/// Waits until a certificate stands for a user; `None` is one that is refused.
async fn until_known(server: &Server, peer: &PeerCertificates, name: Option<&str>) {
    let known = async || server.user(&[], peer).await.ok().map(|user| user.name).as_deref() == name;
    until_async("the certificate means what it should", known).await;
}

#[tokio::test]
async fn a_cluster_without_settings_is_served_and_can_get_some() {
    let server = Server::start(&Settings::default());
    let client = server.api.client();
    let following = Following::start(server, client, false);
    following.ready().await;
    let server = &following.server;
    let certified = server.certified("bob", &[]);
    assert_eq!(server.user(&[], &certified).await, Ok(anonymous()), "no authority is known");
    server.api.config_map(&published(&server.clients, &server.proxies));
    until_known(server, &certified, Some("bob")).await;
    assert!(server.user(&REMOTE, &server.proxy("front-proxy-client")).await.is_ok());
}

/// D47: upstream goes on believing what is no longer published.
#[tokio::test]
async fn what_is_no_longer_published_is_no_longer_believed() {
    let server = Server::start(&Settings::default());
    server.api.config_map(&published(&server.clients, &server.proxies));
    let client = server.api.client();
    let following = Following::start(server, client, false);
    following.ready().await;
    let server = &following.server;
    let (proxy, certified) = (server.proxy("front-proxy-client"), server.certified("bob", &[]));
    assert!(server.user(&REMOTE, &proxy).await.is_ok() && server.user(&[], &certified).await.is_ok());
    server.api.config_map(&json!({}));
    until_known(server, &certified, Some("system:anonymous")).await;
    assert_eq!(server.user(&REMOTE, &proxy).await, Ok(anonymous()));
}

/// D47 too: kube-apiserver makes a deleted ConfigMap again, and until then nothing is published.
#[tokio::test]
async fn a_deleted_config_map_publishes_nothing() {
    let server = Server::start(&Settings::default());
    server.api.config_map(&published(&server.clients, &server.proxies));
    let client = server.api.client();
    let following = Following::start(server, client, false);
    following.ready().await;
    let server = &following.server;
    let (proxy, certified) = (server.proxy("front-proxy-client"), server.certified("bob", &[]));
    assert!(server.user(&REMOTE, &proxy).await.is_ok() && server.user(&[], &certified).await.is_ok());
    server.api.delete_config_map();
    until_known(server, &certified, Some("system:anonymous")).await;
    assert_eq!(server.user(&REMOTE, &proxy).await, Ok(anonymous()));
    server.api.config_map(&published(&server.clients, &server.proxies));
    until_known(server, &certified, Some("bob")).await;
    assert!(server.user(&REMOTE, &proxy).await.is_ok());
}

/// Upstream ends when it cannot read them; here the server waits, not ready, and takes them up when it can (D31).
#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_read_keep_the_server_out_of_service() {
    let server = Server::start(&Settings::default());
    server.api.config_map(&published(&server.clients, &server.proxies));
    server.api.always(CONFIG_MAPS, failure(403));
    let client = server.api.client();
    let following = Following::start(server, client, false);
    let api = &following.server.api;
    until_async("it was tried again", async || api.count(CONFIG_MAPS) >= 3).await;
    assert!(!following.is_ready());
    following.server.api.always(CONFIG_MAPS, Reply::ConfigMap);
    following.ready().await;
    assert!(following.server.user(&REMOTE, &following.server.proxy("front-proxy-client")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn settings_are_read_within_seconds_after_a_long_outage() {
    let server = Server::start(&Settings::default());
    server.api.config_map(&published(&server.clients, &server.proxies));
    server.api.always(CONFIG_MAPS, failure(503));
    let client = server.api.client();
    let following = Following::start(server, client, false);
    tokio::time::sleep(Duration::from_mins(10)).await;
    following.server.api.always(CONFIG_MAPS, Reply::ConfigMap);
    let over = Instant::now();
    following.ready().await;
    assert!(over.elapsed() <= Duration::from_secs(6), "{:?}", over.elapsed());
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_read_can_be_done_without() {
    let server = Server::start(&Settings::default());
    server.api.always(CONFIG_MAPS, failure(403));
    let client = server.api.client();
    let following = Following::start(server, client, true);
    following.ready().await;
    assert_eq!(following.server.user(&REMOTE, &following.server.proxy("x")).await, Ok(anonymous()));
}
