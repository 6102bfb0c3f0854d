//! Scraping targets on loopback: labels, the series about the scrape itself, and what becomes of a target that fails.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use engine::scrape::{ScrapeConfig, Scraper, Target};
use engine::value::Value;
use engine::{Engine, EngineConfig};
use testkit::scripted::{Reply, Server, answer};
use testkit::wait::until;

/// A target that exposes a text, which the test may change; `None` never answers.
struct Exposer {
    server: Server,
    text: Arc<Mutex<Option<String>>>,
}

impl Exposer {
    async fn start(text: &str) -> Exposer {
        let text = Arc::new(Mutex::new(Some(text.to_owned())));
        let exposed = Arc::clone(&text);
        let server = Server::plain(move |_| match &*exposed.lock().expect("not poisoned") {
            Some(text) => answer(200, &[], text),
            None => Reply::Hang,
        })
        .await;
        Exposer { server, text }
    }

    fn url(&self) -> String {
        format!("http://{}/metrics", self.server.address)
    }

    fn exposes(&self, text: Option<&str>) {
        *self.text.lock().expect("not poisoned") = text.map(str::to_owned);
    }
}

fn scraper(engine: &Engine, target: &Exposer, config: ScrapeConfig) -> Scraper {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let labels = vec![("namespace".to_owned(), "default".to_owned()), ("pod".to_owned(), "a".to_owned())];
    Scraper::start(engine, config, vec![Target::new(&target.url(), labels).expect("a URL")])
        .expect("a client")
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// `labels value` of each series that a query yields.
fn ask(engine: &Engine, query: &str) -> Vec<(String, f64)> {
    match engine.query(query, now_ms()).expect("a value") {
        Value::Vector(samples) => {
            samples.iter().map(|sample| (sample.labels.to_string(), sample.value)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_target_is_scraped_and_goes_stale_when_it_fails() {
    let engine = Engine::new(EngineConfig::default());
    let target = Exposer::start("depth{pod=\"own\",k=\"v\"} 7\nother 1\n").await;
    let config = ScrapeConfig {
        interval: Duration::from_millis(500),
        timeout: Duration::from_millis(500),
        body_limit: 200,
        sample_limit: 5,
    };
    let scraper = scraper(&engine, &target, config);
    scraper.rounds(1).await;
    let depth = ask(&engine, "depth");
    assert_eq!(depth.len(), 1);
    // The target's own labels win; the exposed one is renamed.
    for part in
        ["exported_pod=\"own\"", "k=\"v\"", "namespace=\"default\"", "pod=\"a\"", "instance=\"127.0.0.1:"]
    {
        assert!(depth[0].0.contains(part), "{part} is not in {}", depth[0].0);
    }
    assert_eq!(ask(&engine, "sum(up)")[0].1, 1.0);
    assert_eq!(ask(&engine, "sum(scrape_samples_scraped)")[0].1, 2.0);
    // A series that is gone from its target has no value any more; the others go on.
    target.exposes(Some("other 2\n"));
    until("depth is gone", || ask(&engine, "depth").is_empty()).await;
    assert_eq!(ask(&engine, "other")[0].1, 2.0);
    let many = "x 1\n".repeat(6);
    let large = "y".repeat(300);
    for (text, error) in [
        (Some("<html>\n"), "invalid exposition: line 1, column 1"),
        (Some(many.as_str()), "more samples than the limit of 5"),
        (Some(large.as_str()), "the body is larger than the limit of 200 bytes"),
        (None, "the target did not answer in time"),
    ] {
        target.exposes(text);
        until(error, || scraper.statuses()[0].error.as_deref().is_some_and(|found| found.starts_with(error)))
            .await;
        assert_eq!(ask(&engine, "sum(up)")[0].1, 0.0, "{error}");
        assert!(ask(&engine, "other").is_empty(), "{error}");
        target.exposes(Some("other 3\n"));
        until("it recovers", || scraper.statuses()[0].error.is_none()).await;
        assert_eq!(ask(&engine, "sum(up)")[0].1, 1.0);
    }
    // Scraping ends: nothing is known of the target any more.
    drop(scraper);
    until("everything is stale", || ask(&engine, "other").is_empty()).await;
}
