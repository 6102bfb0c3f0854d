//! One credential is sent, from wherever it comes, and as it is now.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter::source::prometheus::{KubernetesAuth, Prometheus, PrometheusSettings};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::rows::{each_row, each_row_async};
use testkit::scripted::{Request, Server, answer};
use testkit::wait::{until, until_async};

use crate::{ask, failure, good, query, refusal, source, to};

/// A kubeconfig with fields of its cluster and its user.
pub(crate) fn kubeconfig(dir: &Path, cluster: &str, user: &str) -> KubernetesAuth {
    let path = dir.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- {{name: c, context: {{cluster: a, user: b}}}}\n\
         clusters:\n- {{name: a, cluster: {{server: 'https://elsewhere.example', {cluster}}}}}\n\
         users:\n- {{name: b, user: {{{user}}}}}\n"
    );
    fs::write(&path, text).expect("writable");
    KubernetesAuth::Kubeconfig(path)
}

#[tokio::test]
async fn one_credential_is_sent_in_upstreams_order() {
    let server = Server::plain(|_| good()).await;
    let dir = tempfile::tempdir().expect("a folder");
    let token = dir.path().join("file-token");
    fs::write(&token, "file\n").expect("writable");
    let auth = kubeconfig(dir.path(), "", "token: kube");
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let rows = [
        (true, true, true, true, Some("Custom header".to_owned())),
        (false, true, true, true, Some(basic("us er:p@ss"))),
        (false, false, true, true, Some("Bearer file".to_owned())),
        (false, false, false, true, Some("Bearer kube".to_owned())),
        (true, false, false, false, Some("Custom header".to_owned())),
        (true, false, true, false, Some("Custom header".to_owned())),
        (false, true, false, false, Some(basic("us er:p@ss"))),
        (false, false, false, false, None),
    ];
    each_row_async(rows, async |(header, user, file, kube, expected)| {
        let user = if user { "us%20er:p%40ss@" } else { "" };
        let mut settings = to(&format!("http://{user}127.0.0.1:{}", server.port()));
        if header {
            settings.headers = vec![
                (http::header::AUTHORIZATION, "Custom header".parse().expect("a value")),
                (http::header::AUTHORIZATION, "Custom second".parse().expect("a value")),
                ("x-scope-orgid".parse().expect("a name"), "team".parse().expect("a value")),
            ];
        }
        settings.token_file = file.then(|| token.clone());
        settings.auth = kube.then(|| auth.clone());
        ask(settings).await.expect("an answer");
        let request = server.take_one();
        assert_eq!(request.header("authorization"), expected.iter().collect::<Vec<_>>());
        assert_eq!(request.header("x-scope-orgid"), if header { vec!["team"] } else { vec![] });
        let agent = format!("gpu-serving-autoscaler/{} (adapter)", env!("CARGO_PKG_VERSION"));
        assert_eq!(request.header("user-agent"), [agent.as_str()]);
    })
    .await;
}

#[tokio::test]
async fn a_kubeconfigs_user_is_who_asks() {
    let server = Server::plain(|_| good()).await;
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("token"), "from-file\n").expect("writable");
    let basic = format!("Basic {}", STANDARD.encode("u:p:q"));
    let rows = [
        ("token: plain", Some("Bearer plain")),
        ("tokenFile: token", Some("Bearer from-file")),
        ("token: plain, tokenFile: token", Some("Bearer from-file")),
        ("token: plain, tokenFile: absent", Some("Bearer plain")),
        ("username: u, password: 'p:q'", Some(basic.as_str())),
        ("", None),
        ("token: ''", None),
    ];
    each_row_async(rows, async |(user, authorization)| {
        let mut settings = to(&format!("http://127.0.0.1:{}", server.port()));
        settings.auth = Some(kubeconfig(dir.path(), "", user));
        ask(settings).await.expect("an answer");
        assert_eq!(server.take_one().header("authorization"), Vec::from_iter(authorization), "{user}");
    })
    .await;
    let mut settings = to(&format!("http://127.0.0.1:{}", server.port()));
    let user = "token: t, as: jane, as-uid: '7', as-groups: [a, b], as-user-extra: {example.org/x: [y]}";
    settings.auth = Some(kubeconfig(dir.path(), "", user));
    ask(settings).await.expect("an answer");
    let request = server.take_one();
    let rows = [
        ("authorization", &["Bearer t"][..]),
        ("impersonate-user", &["jane"]),
        ("impersonate-uid", &["7"]),
        ("impersonate-group", &["a", "b"]),
        ("impersonate-extra-example%2eorg%2fx", &["y"]),
    ];
    each_row(rows, |(name, values)| {
        assert_eq!(request.header(name), values, "{name}");
    });
}

#[tokio::test]
async fn a_pods_account_is_who_asks() {
    let server = Server::plain(|_| good()).await;
    let dir = tempfile::tempdir().expect("a folder");
    let mut settings = to(&format!("http://127.0.0.1:{}", server.port()));
    settings.auth = Some(KubernetesAuth::ServiceAccount(dir.path().to_owned()));
    let text = refusal(settings.clone());
    assert!(text.starts_with("cannot read --prometheus-auth-incluster ("), "{text}");
    let authority = apiservice::authority::Authority::new("cluster").expect("a key");
    fs::write(dir.path().join("ca.crt"), authority.certificate()).expect("writable");
    fs::write(dir.path().join("token"), "pod").expect("writable");
    ask(settings).await.expect("an answer");
    assert_eq!(server.take_one().header("authorization"), ["Bearer pod"]);
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("ca.crt"), "nothing").expect("writable");
    let secret = "hunter2";
    let rows = [
        ("", "exec: {command: aws, apiVersion: v1}", "found exec (aws): commands are not run here"),
        ("", "auth-provider: {name: oidc}", "found auth-provider (oidc)"),
        ("", "token: hunter2, username: u", "expected a token or a password, found both"),
        ("", "tokenFile: absent", "cannot read tokenFile of the kubeconfig ("),
        (
            "",
            "tokenFile: ca.crt, as-groups: [a]",
            "expected as beside as-uid, as-groups and as-user-extra, found none",
        ),
        (
            "",
            "client-certificate-data: aHVudGVyMg==",
            "expected client-certificate and client-key together, found one",
        ),
        (
            "",
            "client-certificate-data: aHVudGVyMg==, client-key-data: aHVudGVyMg==",
            "expected a PEM certificate in client-certificate-data of the kubeconfig, found none",
        ),
        ("certificate-authority-data: '!hunter2'", "", "expected Base64 in certificate-authority-data"),
        ("certificate-authority: absent.crt", "", "cannot read certificate-authority of the kubeconfig ("),
        (
            "certificate-authority: ca.crt",
            "",
            "expected PEM certificates in certificate-authority of the kubeconfig (",
        ),
        (
            "certificate-authority: ca.crt, insecure-skip-tls-verify: true",
            "",
            "expected certificate-authority or insecure-skip-tls-verify, found both",
        ),
        (
            "tls-server-name: 'a b'",
            "",
            "expected a host name or an address in tls-server-name, found \"a b\"",
        ),
        (
            "proxy-url: 'ftp://u:hunter2@proxy'",
            "",
            "expected an http, https, socks5 or socks5h proxy in proxy-url",
        ),
        ("insecure-skip-tls-verify: hunter2", "", "invalid boolean at line 7, column "),
    ];
    each_row(rows, |(cluster, user, expected)| {
        let mut settings = to("https://127.0.0.1:9");
        settings.auth = Some(kubeconfig(dir.path(), cluster, user));
        let text = refusal(settings);
        assert!(text.contains(expected), "{expected} is not in {text}");
        assert!(!text.contains(secret), "{text}");
    });
    let path = dir.path().join("kubeconfig");
    let rows = [
        ("", "expected a current-context, found none"),
        ("current-context: c", "expected the context \"c\" of current-context, found none"),
        (
            "current-context: c\ncontexts: [{name: d}]",
            "expected the context \"c\" of current-context, found d",
        ),
        (
            "current-context: c\ncontexts: [{name: c, context: {cluster: a}}]\nclusters: [{name: x}, {name: y}]",
            "expected the cluster \"a\" of the context \"c\", found x, y",
        ),
        (
            "current-context: c\ncontexts: [{name: c, context: {cluster: a, user: b}}]\nclusters: [{name: a}]",
            "expected the user \"b\" of the context \"c\", found none",
        ),
        ("users: [{name: b, user: hunter2}]", "expected mapping start at line 1, column 25"),
        ("token: [hunter2", "cannot read the kubeconfig of --prometheus-auth-config ("),
    ];
    each_row(rows, |(text, expected)| {
        fs::write(&path, text).expect("writable");
        let mut settings = to("http://127.0.0.1:9");
        settings.auth = Some(KubernetesAuth::Kubeconfig(path.clone()));
        let found = refusal(settings);
        assert!(found.contains(expected), "{expected} is not in {found}");
        assert!(!found.contains(secret), "{found}");
    });
    fs::remove_file(&path).expect("it is there");
    let mut settings = to("http://127.0.0.1:9");
    settings.auth = Some(KubernetesAuth::Kubeconfig(path));
    assert!(refusal(settings).contains("No such file or directory"));
}

/// A server that takes one token, which a test changes.
async fn with_token(token: &Arc<Mutex<String>>) -> Server {
    let token = Arc::clone(token);
    Server::plain(move |request: &Request| {
        let expected = format!("Bearer {}", token.lock().expect("not poisoned"));
        if request.header("authorization") == [expected] {
            good()
        } else {
            answer(401, &[], "Unauthorized\n")
        }
    })
    .await
}

#[tokio::test]
async fn a_token_that_changes_is_read_again_when_the_old_one_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    let accepted = Arc::new(Mutex::new("one".to_owned()));
    let server = with_token(&accepted).await;
    fs::write(&file, "one").expect("writable");
    let by_file =
        |settings: PrometheusSettings| PrometheusSettings { token_file: Some(file.clone()), ..settings };
    let by_kubeconfig = |settings: PrometheusSettings| PrometheusSettings {
        auth: Some(kubeconfig(dir.path(), "", "tokenFile: token")),
        ..settings
    };
    let url = format!("http://127.0.0.1:{}", server.port());
    let sources = [source(by_file(to(&url))), source(by_kubeconfig(to(&url)))];
    each_row_async(["one", "two"], async |token| {
        *accepted.lock().expect("not poisoned") = token.to_owned();
        for source in &sources {
            fs::write(&file, "stale").expect("writable");
            fs::write(&file, token).expect("writable");
            until_answered(source).await;
            assert_eq!(
                server.take().last().expect("asked").header("authorization"),
                [format!("Bearer {token}")]
            );
        }
    })
    .await;
    // The kubeconfig itself changes; what is broken meanwhile leaves the one before in use.
    let [_, source] = sources;
    let source = &source;
    fs::write(dir.path().join("kubeconfig"), "users: [").expect("writable");
    query(source, "up").await.expect("the token is still right");
    kubeconfig(dir.path(), "", "token: four");
    *accepted.lock().expect("not poisoned") = "four".to_owned();
    until_answered(source).await;
}

/// Files are not looked at twice within a second, however often a token is refused.
async fn until_answered(source: &Prometheus) {
    until_async("the new token to be taken", async || query(source, "up").await.is_ok()).await;
}

#[tokio::test]
async fn a_token_that_changes_is_sent_soon_though_the_old_one_is_accepted() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    fs::write(&file, "one").expect("writable");
    let server = Server::plain(|_| good()).await;
    let settings = to(&format!("http://127.0.0.1:{}", server.port()));
    let source = Arc::new(source(PrometheusSettings { token_file: Some(file.clone()), ..settings }));
    let following = tokio::spawn(Arc::clone(&source).follow_files(Duration::from_millis(1)));
    let sends = async |token: &str| {
        query(&source, "up").await.expect("an answer");
        server.take_one().header("authorization") == [format!("Bearer {token}")]
    };
    assert!(sends("one").await);
    // A broken edit leaves the token in use, and shows.
    fs::write(&file, "\n").expect("writable");
    let is_refused = || source.file_stats().iter().any(|stats| !stats.is_valid());
    until("the broken edit to be seen", is_refused).await;
    assert!(sends("one").await);
    fs::write(&file, "two").expect("writable");
    until_async("the new token to be sent", async || sends("two").await).await;
    assert!(!is_refused());
    following.abort();
}

#[tokio::test]
async fn refused_credentials_are_named_and_not_shown() {
    let server = Server::plain(|_| answer(401, &[], "Unauthorized\n")).await;
    let place = format!("http://127.0.0.1:{}", server.port());
    let text = failure(to(&place)).await;
    assert!(text.ends_with(&format!("({place}, asked with no credentials)")), "{text}");
    let dir = tempfile::tempdir().expect("a folder");
    let mut settings = to(&place);
    settings.auth = Some(kubeconfig(dir.path(), "", "token: hunter2"));
    let text = failure(settings).await;
    assert!(text.ends_with(&format!("({place}, asked with the token of the kubeconfig)")), "{text}");
    let text = failure(to(&format!("http://hunter2:hunter2@127.0.0.1:{}", server.port()))).await;
    assert!(text.ends_with(&format!("({place}, asked with the user of --prometheus-url)")), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn token_files_hold_a_token() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    let rows = [
        (&b" \n"[..], "expected a token in --prometheus-token-file ("),
        (b"a\nb", "found characters that a header cannot hold"),
        (b"\xff\xfe", "found bytes that are not text"),
    ];
    each_row(rows, |(bytes, expected)| {
        fs::write(&file, bytes).expect("writable");
        let mut settings = to("http://127.0.0.1:9");
        settings.token_file = Some(file.clone());
        let text = refusal(settings);
        assert!(text.contains(expected), "{expected} is not in {text}");
    });
    let mut settings = to("http://127.0.0.1:9");
    settings.token_file = Some(dir.path().join("absent"));
    assert!(refusal(settings).contains("No such file or directory"));
}
