//! The embedded engine beside a server: heavy queries stop at their deadline and do not delay others meanwhile.

use std::time::{Duration, Instant, SystemTime};

use adapter::source::embedded::Embedded;
use adapter::source::{MetricSource as _, SourceErrorClass};
use engine::EngineConfig;
use engine::labels::Labels;
use engine::scrape::ScrapeConfig;

const HEAVY: &str = "sum_over_time(rate(depth[5m])[5m:1ms])";

fn embedded() -> Embedded {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let embedded =
        Embedded::start(EngineConfig::default(), ScrapeConfig::default(), Vec::new()).expect("a client");
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    for pod in 0..1_000 {
        let labels = Labels::from_pairs([("__name__", "depth"), ("pod", &format!("pod-{pod}"))]);
        let series = embedded.engine().store().intern(&labels).expect("room");
        for second in 0..300 {
            series.append(now - 300_000 + second * 1_000, second as f64).expect("in the store");
        }
    }
    embedded
}

// One thread serves, so that an evaluation on it would let nothing else happen.
#[tokio::test]
async fn a_heavy_query_ends_at_its_deadline_and_others_are_served_meanwhile() {
    let embedded = embedded();
    let deadline = Instant::now() + Duration::from_millis(300);
    let query = embedded.query(HEAVY, SystemTime::now(), deadline);
    let others = async {
        let mut served = 0;
        while Instant::now() < deadline {
            // Others need the thread for a moment, a thousand times a second.
            tokio::time::sleep(Duration::from_millis(1)).await;
            served += 1;
        }
        served
    };
    let (found, served) = tokio::join!(query, others);
    let error = found.expect_err("too heavy");
    assert_eq!(error.class, SourceErrorClass::Timeout, "{error}");
    assert!(served > 1, "nothing was served meanwhile");
}

#[tokio::test]
async fn queries_wait_for_a_thread_until_their_deadline() {
    let embedded = embedded();
    let later = Instant::now() + Duration::from_mins(1);
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
    let mut heavy: Vec<_> = (0..threads).map(|_| embedded.query(HEAVY, SystemTime::now(), later)).collect();
    for query in &mut heavy {
        assert!(futures_util::poll!(query).is_pending());
    }
    let soon = Instant::now() + Duration::from_millis(50);
    let error = embedded.query("sum(depth)", SystemTime::now(), soon).await.expect_err("no thread is free");
    assert_eq!(error.class, SourceErrorClass::Busy, "{error}");
    // Their callers have gone: their threads are free long before their deadline.
    drop(heavy);
    embedded.query("sum(depth)", SystemTime::now(), later).await.expect("a value");
}
