//! Proxies, of the environment and of a kubeconfig.

use std::net::SocketAddr;

use adapter::source::prometheus::{PrometheusSettings, Proxies};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::rows::each_row_async;
use testkit::scripted::{Reply, Server, answer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::credentials::kubeconfig;
use crate::tls::{Issuer, server_config};
use crate::{ask, failure, good, refusal, to};

fn environment(variables: &'static [(&str, &str)], proxy: &str) -> Proxies {
    Proxies::read(|name| {
        let (_, text) = variables.iter().find(|(other, _)| *other == name)?;
        Some(text.replace("PROXY", proxy))
    })
}

#[tokio::test]
async fn requests_go_through_the_proxy_of_the_environment() {
    let proxy = Server::plain(|_| good()).await;
    let through = |variables| environment(variables, &format!("127.0.0.1:{}", proxy.port()));
    let mut settings = to("http://prometheus.example:9090/base");
    settings.proxies = through(&[("HTTP_PROXY", "http://us%40er:secret@PROXY")]);
    ask(settings.clone()).await.expect("an answer");
    let request = proxy.take_one();
    assert_eq!(request.path(), "http://prometheus.example:9090/base/api/v1/query");
    assert_eq!(request.header("host"), ["prometheus.example:9090"]);
    assert_eq!(request.header("proxy-authorization"), [format!("Basic {}", STANDARD.encode("us@er:secret"))]);
    // Nothing answers by these names but the proxy.
    settings.proxies = through(&[("HTTP_PROXY", "PROXY"), ("NO_PROXY", "prometheus.example:9090")]);
    let text = failure(settings).await;
    assert!(
        text.starts_with("cannot reach Prometheus at http://prometheus.example:9090: error resolving DNS"),
        "{text}"
    );
    assert!(proxy.take().is_empty());
}

#[tokio::test]
async fn what_is_on_this_machine_is_asked_directly() {
    let server = Server::plain(|_| good()).await;
    each_row_async(["localhost", "127.0.0.1"], async |host| {
        for variables in [
            &[("HTTP_PROXY", "http://127.0.0.1:1")][..],
            &[("HTTP_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")],
            &[("http_proxy", "http://127.0.0.1:1"), ("no_proxy", "localhost:1")],
        ] {
            let mut settings = to(&format!("http://{host}:{}", server.port()));
            settings.proxies = environment(variables, "");
            ask(settings).await.expect("an answer");
            assert_eq!(server.take_one().path(), "/api/v1/query");
        }
    })
    .await;
}

#[tokio::test]
async fn errors_name_the_proxy_without_its_password() {
    let mut settings = to("http://prometheus.example:9090");
    settings.proxies = environment(&[("HTTP_PROXY", "http://user:secret@127.0.0.1:1")], "");
    assert_eq!(
        failure(settings).await,
        "cannot reach Prometheus at http://prometheus.example:9090 through the proxy http://127.0.0.1:1: Connection \
         refused (os error 111)"
    );
    let proxy = Server::plain(|_| answer(407, &[], "who are you?")).await;
    let through = |variables| environment(variables, &format!("127.0.0.1:{}", proxy.port()));
    let mut settings = to("http://prometheus.example:9090");
    settings.proxies = through(&[("HTTP_PROXY", "PROXY")]);
    let text = failure(settings).await;
    assert!(text.starts_with("Prometheus answered 407 Proxy Authentication Required"), "{text}");
    assert!(text.contains(&format!("through the proxy http://127.0.0.1:{}", proxy.port())), "{text}");
    let mut settings = to("https://prometheus.example:9090");
    settings.proxies = through(&[("HTTPS_PROXY", "PROXY")]);
    let text = failure(settings).await;
    assert!(text.contains("through the proxy") && text.contains("proxy authorization required"), "{text}");
    let mut settings = to("http://prometheus.example:9090");
    settings.proxies = environment(&[("HTTP_PROXY", "ftp://user:secret@127.0.0.1:1")], "");
    let expected =
        "expected an http, https, socks5 or socks5h proxy in HTTP_PROXY, found one of the scheme ftp";
    assert_eq!(refusal(settings.clone()), expected);
    // A proxy that is not used does not matter.
    settings.url = "https://prometheus.example:9090".parse().expect("a URL");
    assert!(!failure(settings).await.contains("proxy"));
}

#[tokio::test]
async fn tls_goes_through_a_proxy_untouched() {
    let issuer = Issuer::new();
    let server = Server::tls(server_config(&issuer.server("prometheus.example")), |_| good()).await;
    let address = server.address;
    let proxy = Server::plain(move |_| Reply::Tunnel(address)).await;
    let dir = tempfile::tempdir().expect("a folder");
    let through = |variables| environment(variables, &format!("127.0.0.1:{}", proxy.port()));
    let settings = PrometheusSettings {
        ca_file: Some(issuer.file(dir.path())),
        proxies: through(&[("HTTPS_PROXY", "user:secret@PROXY"), ("HTTP_PROXY", "127.0.0.1:1")]),
        ..to("https://user:hidden@prometheus.example:9090")
    };
    ask(settings).await.expect("an answer");
    let request = proxy.take_one();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "prometheus.example:9090"));
    assert_eq!(request.header("proxy-authorization"), [format!("Basic {}", STANDARD.encode("user:secret"))]);
    assert_eq!(request.header("authorization"), Vec::<&str>::new());
    assert_eq!(server.take_one().header("proxy-authorization"), Vec::<&str>::new());
    // A kubeconfig's own comes before the environment's, and is used on this machine too.
    let mut settings = to(&format!("https://localhost:{}", server.port()));
    let cluster = format!(
        "certificate-authority: ca.crt, tls-server-name: prometheus.example, proxy-url: 'http://127.0.0.1:{}'",
        proxy.port()
    );
    settings.auth = Some(kubeconfig(dir.path(), &cluster, "token: t"));
    settings.proxies = environment(&[("HTTPS_PROXY", "127.0.0.1:1")], "");
    ask(settings).await.expect("an answer");
    assert_eq!(proxy.take_one().target, format!("localhost:{}", server.port()));
    assert_eq!(server.take_one().header("authorization"), ["Bearer t"]);
}

/// A SOCKS5 proxy before one server; gives back the host that it was asked for.
async fn socks(server: SocketAddr) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut start = [0; 2];
        client.read_exact(&mut start).await.expect("a greeting");
        let mut methods = vec![0; usize::from(start[1])];
        client.read_exact(&mut methods).await.expect("methods");
        client.write_all(&[5, 0]).await.expect("no password is needed");
        let mut head = [0; 5];
        client.read_exact(&mut head).await.expect("a request");
        assert_eq!(head[..4], [5, 1, 0, 3], "a connection to a name");
        let mut name = vec![0; usize::from(head[4]) + 2];
        client.read_exact(&mut name).await.expect("a name and a port");
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.expect("granted");
        let mut server = TcpStream::connect(server).await.expect("a server");
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        name.truncate(name.len() - 2);
        String::from_utf8(name).expect("text")
    });
    (address, task)
}

#[tokio::test]
async fn a_socks_proxy_resolves_the_name() {
    let server = Server::plain(|_| good()).await;
    let (address, asked) = socks(server.address).await;
    let mut settings = to("http://prometheus.example:9090");
    settings.proxies = environment(&[("HTTP_PROXY", "socks5://PROXY")], &address.to_string());
    ask(settings).await.expect("an answer");
    assert_eq!(server.take_one().path(), "/api/v1/query");
    assert_eq!(asked.await.expect("no panic"), "prometheus.example");
}
