//! Redirects, verbs, and what is said of answers that are errors.

use adapter::source::SourceErrorClass;
use adapter::source::prometheus::{PrometheusSettings, Verb};
use testkit::router::closed_address;
use testkit::rows::each_row_async;
use testkit::scripted::{Reply, Request, Server, answer};

use crate::{ask, failure, good, query, source, to};

/// A redirect.
fn redirect(code: u16, location: &str) -> Reply {
    answer(code, &[("location", location)], "elsewhere")
}

/// Where a redirect in the manner of a web server's configuration leads: the same parameters below another path.
fn moved(request: &Request) -> String {
    request.target.replacen("/api", "/prometheus/api", 1)
}

#[tokio::test]
async fn redirects_on_the_same_host_keep_method_body_and_credentials() {
    each_row_async([301, 302, 303, 307, 308], async |code| {
        let server = Server::plain(move |request| {
            if request.path().starts_with("/prometheus/") { good() } else { redirect(code, &moved(request)) }
        })
        .await;
        for verb in [Verb::Get, Verb::Post] {
            let mut settings = to(&format!("http://127.0.0.1:{}", server.port()));
            settings.verb = verb;
            settings.headers =
                vec![("authorization".parse().expect("a name"), "Bearer t".parse().expect("a value"))];
            ask(settings).await.unwrap_or_else(|error| panic!("{code}: {error}"));
            let [first, second] = &server.take()[..] else { panic!("expected two requests") };
            assert_eq!((&second.method, &second.body), (&first.method, &first.body), "{code}");
            assert_eq!(second.path(), "/prometheus/api/v1/query");
            assert_eq!(second.header("authorization"), ["Bearer t"]);
            match verb {
                Verb::Get => assert!(second.target.contains("?query=up&time="), "{}", second.target),
                Verb::Post => assert!(second.body.starts_with("query=up&time="), "{}", second.body),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn redirects_to_another_host_are_refused_with_the_target() {
    let other = Server::plain(|_| good()).await;
    let location = format!("http://user:secret@localhost:{}/api/v1/query?query=secret", other.port());
    let server = Server::plain(move |_| redirect(308, &location)).await;
    let text = failure(to(&format!("http://127.0.0.1:{}", server.port()))).await;
    let expected = format!(
        "Prometheus at http://127.0.0.1:{} redirects to http://localhost:{}/api/v1/query, another host; give that address \
         as --prometheus-url if it is the right one",
        server.port(),
        other.port()
    );
    assert_eq!(text, expected);
    // Another port is another server, to which credentials do not go.
    let location = format!("http://127.0.0.1:{}/api/v1/query", other.port());
    let server = Server::plain(move |_| redirect(302, &location)).await;
    let text = failure(to(&format!("http://user:secret@127.0.0.1:{}", server.port()))).await;
    assert!(text.contains("another port, to which credentials are not sent"), "{text}");
    assert!(other.take().is_empty());
    ask(to(&format!("http://127.0.0.1:{}", server.port()))).await.expect("there are none to send");
    assert_eq!(other.take_one().header("authorization"), Vec::<&str>::new());
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = Server::plain(|request| redirect(307, &request.target)).await;
    let text = failure(to(&format!("http://127.0.0.1:{}", server.port()))).await;
    assert!(text.ends_with("redirects more than 10 times"), "{text}");
    assert_eq!(server.take().len(), 11);
    // A redirect to nowhere is an answer like others.
    let server = Server::plain(|_| answer(302, &[], "")).await;
    let text = failure(to(&format!("http://127.0.0.1:{}", server.port()))).await;
    assert!(text.starts_with("Prometheus answered 302 Found"), "{text}");
}

/// A query whose URL has at least a number of bytes, none of them escaped.
fn long(bytes: usize) -> String {
    format!("a{}", "b".repeat(bytes))
}

#[tokio::test]
async fn long_queries_go_by_post() {
    let server = Server::plain(|_| good()).await;
    let source = source(to(&format!("http://127.0.0.1:{}/?tenant=x", server.port())));
    each_row_async([(7_000, "GET"), (9_000, "POST"), (1_000_000, "POST")], async |(length, method)| {
        let text = long(length);
        query(&source, &text).await.expect("an answer");
        let request = server.take_one();
        assert_eq!(request.method, method, "{length}");
        let parameters = if method == "GET" { &request.target } else { &request.body };
        assert!(parameters.contains(&format!("query={text}&time=")), "{length}");
        assert!(request.target.starts_with("/api/v1/query?tenant=x"), "{}", request.target);
    })
    .await;
}

#[tokio::test]
async fn where_post_is_refused_long_queries_go_by_get() {
    each_row_async([403, 405], async |code| {
        let server = Server::plain(
            move |request| if request.method == "POST" { answer(code, &[], "no") } else { good() },
        )
        .await;
        let source = source(to(&format!("http://127.0.0.1:{}", server.port())));
        let methods = || server.take().into_iter().map(|request| request.method).collect::<Vec<_>>();
        query(&source, &long(9_000)).await.expect("an answer");
        assert_eq!(methods(), ["POST", "GET"]);
        query(&source, &long(60_000)).await.expect("an answer");
        assert_eq!(methods(), ["GET"], "what was refused is not asked again and again");
        let text = query(&source, &long(70_000)).await.expect_err("too long for a URL").message;
        assert_eq!(methods(), ["POST"]);
        assert!(text.starts_with(&format!("Prometheus answered {code}")), "{text}");
        assert!(
            text.contains("asked by POST as 70") && text.contains("too long for the URL of a GET"),
            "{text}"
        );
        assert!(text.contains("which may be taken for the verb create"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_post_that_was_asked_for_stays_one() {
    let server = Server::plain(|_| answer(403, &[], "no")).await;
    let url = format!("http://127.0.0.1:{}", server.port());
    let text = failure(PrometheusSettings { verb: Verb::Post, ..to(&url) }).await;
    assert_eq!(server.take_one().method, "POST");
    assert!(
        text.contains("asked by POST, which may be taken for the verb create, with no credentials"),
        "{text}"
    );
    let text = failure(to(&url)).await;
    assert!(text.contains("asked by GET with no credentials"), "{text}");
}

#[tokio::test]
async fn a_url_that_is_too_long_for_a_proxy_becomes_a_post() {
    let limited = |request: &Request| match request.method.as_str() {
        "GET" if request.target.len() > 2048 => answer(414, &[], ""),
        _ => good(),
    };
    let server = Server::plain(limited).await;
    let source = source(to(&format!("http://127.0.0.1:{}", server.port())));
    query(&source, &long(4_000)).await.expect("an answer");
    let methods: Vec<String> = server.take().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET", "POST"]);
}

#[tokio::test]
async fn errors_name_where_was_asked() {
    let server = Server::plain(|_| answer(404, &[], "404 page not found\n")).await;
    let text = failure(to(&format!("http://127.0.0.1:{}/prefix/?tenant=secret", server.port()))).await;
    assert!(text.starts_with("Prometheus answered 404 Not Found"), "{text}");
    assert!(text.ends_with(&format!("(http://127.0.0.1:{}/prefix/api/v1/query)", server.port())), "{text}");
    let server = Server::plain(|_| answer(502, &[], "bad gateway")).await;
    let text = failure(to(&format!("http://127.0.0.1:{}", server.port()))).await;
    assert!(text.ends_with(&format!("(http://127.0.0.1:{})", server.port())), "{text}");
    // Nothing listens where a server was.
    let port = closed_address().port();
    let error = ask(to(&format!("http://127.0.0.1:{port}/prefix"))).await.expect_err("no server is there");
    assert_eq!(error.class, SourceErrorClass::Unreachable);
    let expected =
        format!("cannot reach Prometheus at http://127.0.0.1:{port}: Connection refused (os error 111)");
    assert_eq!(error.message, expected);
    let text = failure(to("http://prometheus.invalid")).await;
    assert!(
        text.starts_with("cannot reach Prometheus at http://prometheus.invalid:80: error resolving DNS: "),
        "{text}"
    );
}
