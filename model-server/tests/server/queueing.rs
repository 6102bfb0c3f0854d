//! Admission, batches, deadlines and failures: what the gauges say is what is true.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use model_server::config::Timeouts;

use testkit::wait::PATIENCE;
use tokio::task::JoinHandle;

use crate::support::{self, Options, Server, Step};

#[tokio::test]
async fn depth_counts_what_is_admitted_and_not_finished() {
    let server = Server::start(Options::default());
    let clients: Vec<_> = (0..5).map(|_| server.predict()).collect();
    server.until("request_queue_depth", 5.0).await;
    server.until("inference_requests_running", 1.0).await;
    assert_eq!(server.metric("inference_requests_waiting"), 4.0);
    for left in (0..5).rev() {
        server.next(Step::Answer);
        server.until("request_queue_depth", f64::from(left)).await;
    }
    for client in clients {
        assert_eq!(client.await.expect("no panic"), 200);
    }
    server.assert_empty();
    assert_eq!(server.metric("request_queue_depth_peak"), 5.0);
    assert_eq!(server.ended("ok"), 5.0);
    assert_eq!(server.metric("inference_latency_seconds_count"), 5.0);
    assert_eq!(server.metric(r#"inference_queue_seconds_count{model="m"}"#), 5.0);
}

/// The clients of a request that runs, and of three that wait meanwhile: the next batch.
async fn one_runs_and_three_wait(server: &Server) -> (JoinHandle<u16>, Vec<JoinHandle<u16>>) {
    let first = server.predict();
    server.until("inference_requests_running", 1.0).await;
    let others = (0..3).map(|_| server.predict()).collect();
    server.until("inference_requests_waiting", 3.0).await;
    (first, others)
}

#[tokio::test]
async fn a_batch_is_what_is_waiting() {
    let server = Server::start(Options { max_batch_size: 8, ..Options::default() });
    let (first, others) = one_runs_and_three_wait(&server).await;
    server.next(Step::Answer);
    server.until("inference_requests_running", 3.0).await;
    server.next(Step::Answer);
    for client in others.into_iter().chain([first]) {
        assert_eq!(client.await.expect("no panic"), 200);
    }
    assert_eq!(server.metric(r#"inference_batch_size_sum{model="m"}"#), 4.0);
    assert_eq!(server.metric(r#"inference_batch_size_count{model="m"}"#), 2.0);
}

#[tokio::test]
async fn with_a_delay_a_batch_waits_until_it_is_full() {
    let delay = Duration::from_hours(1);
    let server = Server::start(Options { max_batch_size: 3, max_batch_delay: delay, ..Options::default() });
    let mut clients = vec![server.predict(), server.predict()];
    server.until("inference_requests_waiting", 2.0).await;
    assert_eq!(server.metric("inference_requests_running"), 0.0);
    clients.push(server.predict());
    server.until("inference_requests_running", 3.0).await;
    server.next(Step::Answer);
    for client in clients {
        assert_eq!(client.await.expect("no panic"), 200);
    }
}

#[tokio::test]
async fn workers_share_the_queue() {
    let server = Server::start(Options { workers: 3, ..Options::default() });
    let clients: Vec<_> = (0..4).map(|_| server.predict()).collect();
    server.until("inference_requests_running", 3.0).await;
    server.until("inference_requests_waiting", 1.0).await;
    assert_eq!(server.metric("inference_workers"), 3.0);
    for _ in 0..4 {
        server.next(Step::Answer);
    }
    for client in clients {
        assert_eq!(client.await.expect("no panic"), 200);
    }
    server.assert_empty();
}

#[tokio::test]
async fn a_client_that_leaves_is_not_counted_any_more() {
    let server = Server::start(Options::default());
    let (running, waiting) = (server.predict(), server.predict());
    server.until("request_queue_depth", 2.0).await;
    server.until("inference_requests_running", 1.0).await;
    waiting.abort();
    running.abort();
    server.until("request_queue_depth", 0.0).await;
    assert_eq!(server.ended("cancelled"), 2.0);
    server.next(Step::Answer);
    // What was cancelled while it waited is not computed: the next step is for the next client.
    let next = server.predict();
    server.next(Step::Answer);
    assert_eq!(next.await.expect("no panic"), 200);
    assert_eq!(server.metric(r#"inference_batch_size_count{model="m"}"#), 2.0);
    server.assert_empty();
}

#[tokio::test]
async fn clients_that_come_and_go_leave_nothing_behind() {
    let server = Server::start(Options { max_batch_size: 4, queue_limit: 8, ..Options::default() });
    let mut sent = 0.0;
    for round in 0..200 {
        let clients: Vec<_> = (0..5).map(|_| server.predict()).collect();
        sent += 5.0;
        for (position, client) in clients.iter().enumerate() {
            // Some leave before they are admitted, some while they wait, some while they execute.
            if (position + round) % 3 == 0 {
                tokio::task::yield_now().await;
                client.abort();
            }
        }
        server.next(Step::Answer);
        server.next(Step::Answer);
        for client in clients {
            match client.await {
                Ok(code) => assert!(code == 200 || code == 503, "{code}"),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
            // A request that stays must not wait for a step that is never sent.
            server.next(Step::Answer);
        }
    }
    server.until("request_queue_depth", 0.0).await;
    server.assert_empty();
    let outcomes = ["ok", "rejected", "cancelled"].map(|outcome| server.ended(outcome));
    let never_started = sent - outcomes.iter().sum::<f64>();
    assert!((0.0..=sent / 3.0 + 1.0).contains(&never_started), "{outcomes:?} of {sent}");
    assert!(outcomes[0] > 0.0 && outcomes[2] > 0.0, "{outcomes:?}");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_stays_ready() {
    let options =
        Options { queue_limit: 1, overload_status: StatusCode::TOO_MANY_REQUESTS, ..Options::default() };
    for (status, options) in
        [(503, Options { overload_status: StatusCode::SERVICE_UNAVAILABLE, ..options }), (429, options)]
    {
        let server = Server::start(options);
        let running = server.predict();
        server.until("inference_requests_running", 1.0).await;
        let waiting = server.predict();
        server.until("inference_requests_waiting", 1.0).await;
        // It is not even parsed.
        let refused = server.send("POST", "/predict", "nonsense").await;
        assert_eq!((refused.code, refused.text()), (status, r#"{"detail":"too many requests are waiting"}"#));
        assert_eq!(refused.header("retry-after"), Some("1"));
        let refused = server.send("POST", "/v2/models/m/infer", "nonsense").await;
        assert_eq!((refused.code, refused.text()), (status, r#"{"error":"too many requests are waiting"}"#));
        assert_eq!(server.send("GET", "/health", "").await.code, 200);
        assert_eq!(server.send("GET", "/v2/health/ready", "").await.code, 200);
        server.next(Step::Answer);
        server.next(Step::Answer);
        assert_eq!((running.await.expect("no panic"), waiting.await.expect("no panic")), (200, 200));
        assert_eq!(server.ended("rejected"), 2.0);
    }
}

#[tokio::test]
async fn clients_that_left_take_no_room() {
    let server = Server::start(Options { queue_limit: 1, ..Options::default() });
    let running = server.predict();
    server.until("inference_requests_running", 1.0).await;
    for _ in 0..10 {
        let left = server.predict();
        server.until("inference_requests_waiting", 1.0).await;
        left.abort();
        server.until("inference_requests_waiting", 0.0).await;
    }
    assert_eq!(server.ended("rejected"), 0.0);
    server.next(Step::Answer);
    assert_eq!(running.await.expect("no panic"), 200);
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_not_computed() {
    let timeouts = Timeouts { default: Some(Duration::from_millis(30)), max: None };
    let server = Server::start(Options { timeouts, ..Options::default() });
    let running = server.predict();
    server.until("inference_requests_running", 1.0).await;
    let late = server.send("POST", "/predict", r#"{"features":[1]}"#).await;
    assert_eq!((late.code, late.text()), (504, r#"{"detail":"the request waited longer than it may"}"#));
    assert_eq!(server.metric("request_queue_depth"), 1.0);
    // One that executes is waited for, however long its deadline is over.
    server.next(Step::Answer);
    assert_eq!(running.await.expect("no panic"), 200);
    assert_eq!((server.ended("expired"), server.ended("ok")), (1.0, 1.0));
    assert_eq!(server.metric(r#"inference_batch_size_count{model="m"}"#), 1.0);
    server.assert_empty();
}

#[tokio::test]
async fn a_client_may_wait_less_than_the_default_but_not_longer_than_the_most() {
    let max = Some(Duration::from_millis(30));
    let server = Server::start(Options { timeouts: Timeouts { default: None, max }, ..Options::default() });
    let running = server.predict();
    server.until("inference_requests_running", 1.0).await;
    for micros in [1_000, 3_600_000_000_u64] {
        let body = serde_json::json!({
            "parameters": {"timeout": micros},
            "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}],
        });
        let late = server.send("POST", "/v2/models/m/infer", &body.to_string()).await;
        assert_eq!((late.code, late.text()), (504, r#"{"error":"the request waited longer than it may"}"#));
    }
    server.next(Step::Answer);
    assert_eq!(running.await.expect("no panic"), 200);
}

#[tokio::test]
async fn what_the_model_cannot_bear_fails_alone() {
    for trouble in [|| Step::Fail, || Step::Panic] {
        let server = Server::start(Options { max_batch_size: 8, ..Options::default() });
        let (first, others) = one_runs_and_three_wait(&server).await;
        server.next(Step::Answer);
        // All three together, then one by one: the second is the one.
        for step in [trouble(), Step::Answer, trouble(), Step::Answer] {
            server.next(step);
        }
        let mut codes = vec![first.await.expect("no panic")];
        for client in others {
            codes.push(client.await.expect("no panic"));
        }
        codes.sort_unstable();
        assert_eq!(codes, [200, 200, 200, 500]);
        server.assert_empty();
        assert_eq!((server.ended("ok"), server.ended("error")), (3.0, 1.0));
        // The worker goes on, and nothing is wrong with it.
        assert_eq!(server.send("GET", "/v2/health/live", "").await.code, 200);
        let next = server.predict();
        server.next(Step::Answer);
        assert_eq!(next.await.expect("no panic"), 200);
    }
}

#[tokio::test]
async fn a_batch_without_memory_is_halved_once() {
    for (steps, expected) in [
        // Together, then a row and two rows.
        (vec![Step::OutOfMemory, Step::Answer, Step::Answer], [200, 200, 200, 200]),
        (vec![Step::OutOfMemory, Step::Answer, Step::OutOfMemory], [200, 503, 503, 503]),
    ] {
        let server = Server::start(Options { max_batch_size: 8, ..Options::default() });
        let (first, others) = one_runs_and_three_wait(&server).await;
        server.next(Step::Answer);
        let without = steps.iter().filter(|step| matches!(step, Step::OutOfMemory)).count();
        for step in steps {
            server.next(step);
        }
        let mut codes = vec![first.await.expect("no panic")];
        for client in others {
            codes.push(client.await.expect("no panic"));
        }
        assert_eq!(codes, expected);
        server.assert_empty();
        assert_eq!(server.metric("inference_out_of_memory_total"), without as f64);
        assert_eq!(server.send("GET", "/v2/health/live", "").await.code, 200);
    }
    // One row has no halves.
    let server = Server::start(Options::default());
    let client = server.predict();
    server.next(Step::OutOfMemory);
    assert_eq!(client.await.expect("no panic"), 503);
}

#[tokio::test]
async fn one_that_fails_is_not_tried_again() {
    let server = Server::start(Options::default());
    for step in [Step::Fail, Step::Panic] {
        let client = server.predict();
        server.next(step);
        assert_eq!(client.await.expect("no panic"), 500);
    }
    assert_eq!(server.metric(r#"inference_batch_size_count{model="m"}"#), 2.0);
    assert_eq!(server.ended("error"), 2.0);
}

#[tokio::test]
async fn an_output_that_is_not_a_number_is_answered_as_a_text() {
    let server = Server::start(Options { max_batch_size: 8, ..Options::default() });
    let first = server.predict();
    server.until("inference_requests_running", 1.0).await;
    let (good, bad) = (server.predict_row("[1,2]"), server.predict_row("[-1,2]"));
    server.until("inference_requests_waiting", 2.0).await;
    server.next(Step::Answer);
    server.next(Step::NoNumber);
    assert_eq!(first.await.expect("no panic"), 200);
    assert_eq!((good.await.expect("no panic"), bad.await.expect("no panic")), (200, 200));
    server.next(Step::NoNumber);
    let answer = server.send("POST", "/predict", r#"{"features":[-1,2]}"#).await;
    assert!(answer.text().starts_with(r#"{"prediction":["NaN"],"#), "{}", answer.text());
    server.next(Step::NoNumber);
    let answer = server.send("POST", "/v1/models/m:predict", r#"{"instances":[[-1,2],[1,2]]}"#).await;
    assert_eq!((answer.code, answer.text()), (200, r#"{"predictions":[["NaN"],[21.0]]}"#));
    assert_eq!(server.ended("ok"), 5.0);
}

#[tokio::test]
async fn rows_are_counted_and_limited_as_requests_are() {
    let server = Server::start(Options { max_batch_size: 4, queue_row_limit: 5, ..Options::default() });
    let infer = |rows: usize| {
        let input = serde_json::json!({"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": vec![1; 2 * rows]});
        let body = serde_json::json!({"inputs": [input]}).to_string();
        let request = Request::post("/v2/models/m/infer").body(Body::from(body)).expect("valid");
        let router = server.router.clone();
        tokio::spawn(async move { support::ask(router, request).await.code })
    };
    let mut clients = vec![infer(3)];
    server.until("inference_rows_running", 3.0).await;
    clients.push(infer(4));
    server.until("inference_rows_waiting", 4.0).await;
    assert_eq!(infer(2).await.expect("no panic"), 503, "six rows would wait");
    clients.push(infer(1));
    server.until("inference_rows_waiting", 5.0).await;
    assert_eq!(
        (server.metric("inference_requests_waiting"), server.metric("request_queue_depth")),
        (2.0, 3.0)
    );
    for _ in 0..3 {
        server.next(Step::Answer);
    }
    for client in clients {
        assert_eq!(client.await.expect("no panic"), 200);
    }
    server.assert_empty();
}

#[tokio::test]
async fn requests_whose_outputs_cannot_be_told_apart_are_computed_alone() {
    let server = Server::start(Options { max_batch_size: 8, ..Options::default() });
    let first = server.predict();
    server.until("inference_requests_running", 1.0).await;
    let others = [server.predict(), server.predict()];
    server.until("inference_requests_waiting", 2.0).await;
    server.next(Step::Answer);
    server.next(Step::FewRows);
    server.next(Step::Answer);
    server.next(Step::Answer);
    assert_eq!(first.await.expect("no panic"), 200);
    for other in others {
        assert_eq!(other.await.expect("no panic"), 200);
    }
    assert_eq!(server.metric(r#"inference_batch_size_count{model="m"}"#), 4.0);
}

#[tokio::test]
async fn without_a_worker_nothing_is_admitted_and_the_server_is_not_live() {
    // It panics, and cannot be reloaded.
    let server = Server::start(Options { loads: 1, ..Options::default() });
    let (running, waiting) = (server.predict(), server.predict());
    server.until("request_queue_depth", 2.0).await;
    server.next(Step::Panic);
    assert_eq!((running.await.expect("no panic"), waiting.await.expect("no panic")), (503, 503));
    server.until(r#"model_ready{model="m",version="3"}"#, 0.0).await;
    let refused = server.send("POST", "/predict", r#"{"features":[1]}"#).await;
    assert_eq!((refused.code, refused.text()), (503, r#"{"detail":"no worker is left"}"#));
    let live = server.send("GET", "/v2/health/live", "").await;
    assert_eq!((live.code, live.text()), (503, r#"{"live":false,"reason":"a worker is stuck or gone"}"#));
    assert_eq!(server.send("GET", "/health", "").await.code, 503);
    server.assert_empty();
    assert_eq!(server.ended("error"), 3.0);
}

#[tokio::test]
async fn a_stuck_worker_is_found_and_its_clients_are_told() {
    let server = Server::start(Options { stall_timeout: Duration::from_millis(40), ..Options::default() });
    let (running, waiting) = (server.predict(), server.predict());
    // The model is not let go on.
    for client in [running, waiting] {
        let code = tokio::time::timeout(PATIENCE, client).await.expect("told in time").expect("no panic");
        assert_eq!(code, 503);
    }
    server.assert_empty();
    assert_eq!(server.send("GET", "/v2/health/live", "").await.code, 503);
    let ready = server.send("GET", "/v2/health/ready", "").await;
    assert_eq!(
        (ready.code, ready.text()),
        (503, r#"{"ready":false,"live":false,"reason":"a worker is stuck or gone"}"#)
    );
    // It comes back after all: live again, and what it computed for requests that are over changes nothing.
    server.next(Step::Answer);
    let back = async {
        while server.send("GET", "/v2/health/live", "").await.code != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("live in time");
    server.assert_empty();
    assert_eq!(server.ended("error"), 2.0);
}

/// Where the executions of a number of lone requests ran: true for the thread that brought them.
async fn ran_here(server: &Server, requests: usize) -> Vec<bool> {
    for _ in 0..requests {
        server.next(Step::Answer);
        assert_eq!(server.send("POST", "/predict", r#"{"features":[1,2]}"#).await.code, 200);
    }
    let here = std::thread::current().id();
    server.ran_on.lock().expect("not poisoned").iter().map(|thread| *thread == here).collect()
}

/// Sends requests until the thread that brings them is the one that runs them; how many it took. How quick the model is
/// is not known before the first, and the worker may not have put it back yet when the next one comes.
async fn until_it_runs_here(server: &Server) -> usize {
    let mut ran = ran_here(server, 1).await;
    assert_eq!(ran, [false]);
    let deadline = Instant::now() + PATIENCE;
    while ran.last() != Some(&true) {
        assert!(Instant::now() < deadline, "the worker keeps the model");
        ran = ran_here(server, 1).await;
    }
    ran.len()
}

#[tokio::test]
async fn a_quick_model_is_run_by_whoever_brings_a_request() {
    let inline_below = Duration::from_hours(1);
    let server = Server::start(Options { inline_below, ..Options::default() });
    let before = until_it_runs_here(&server).await;
    assert!(ran_here(&server, 3).await.ends_with(&[true, true, true]));
    server.assert_empty();
    let requests = before as f64 + 3.0;
    assert_eq!(server.ended("ok"), requests);
    assert_eq!(server.metric(r#"inference_queue_seconds_count{model="m"}"#), requests);
    let slow = Server::start(Options { inline_below: Duration::from_nanos(1), ..Options::default() });
    assert_eq!(ran_here(&slow, 3).await, [false, false, false]);
    let never = Server::start(Options::default());
    assert_eq!(ran_here(&never, 3).await, [false, false, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_runs_a_quick_model_runs_it_for_those_who_came_meanwhile() {
    let server = Server::start(Options { inline_below: Duration::from_hours(1), ..Options::default() });
    let before = until_it_runs_here(&server).await;
    let first = server.predict();
    server.until("inference_requests_running", 1.0).await;
    let others = [server.predict(), server.predict()];
    server.until("inference_requests_waiting", 2.0).await;
    for _ in 0..3 {
        server.next(Step::Answer);
    }
    for client in others.into_iter().chain([first]) {
        assert_eq!(client.await.expect("no panic"), 200);
    }
    let ran = server.ran_on.lock().expect("not poisoned")[before..].to_vec();
    assert_eq!(ran.len(), 3);
    assert!(ran.iter().all(|thread| *thread == ran[0]), "{ran:?}");
    server.assert_empty();
}

#[tokio::test]
async fn what_goes_wrong_in_a_quick_model_stays_there_too() {
    let inline_below = Duration::from_hours(1);
    let server = Server::start(Options { inline_below, loads: 2, ..Options::default() });
    until_it_runs_here(&server).await;
    for (step, code) in [(Step::Fail, 500), (Step::Panic, 500), (Step::Answer, 200), (Step::Panic, 503)] {
        server.next(step);
        assert_eq!(server.send("POST", "/predict", r#"{"features":[1,2]}"#).await.code, code);
    }
    server.assert_empty();
    // It cannot be loaded any more: the worker finds out by the next request.
    assert_eq!(server.send("POST", "/predict", r#"{"features":[1,2]}"#).await.code, 503);
    server.until(r#"model_ready{model="m",version="3"}"#, 0.0).await;
    assert_eq!(server.send("GET", "/v2/health/live", "").await.code, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_stuck_in_a_quick_model_is_found_too() {
    let (inline_below, stall_timeout) = (Duration::from_hours(1), Duration::from_millis(250));
    let server = Server::start(Options { stall_timeout, inline_below, ..Options::default() });
    server.next(Step::Answer);
    assert_eq!(server.predict().await.expect("no panic"), 200);
    let stuck = server.predict();
    let until = async |code: u16| {
        let reached = async {
            while server.send("GET", "/v2/health/live", "").await.code != code {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("in time");
    };
    until(503).await;
    // The worker has to wait for the model; its client is told.
    assert_eq!(server.predict().await.expect("no panic"), 503);
    server.next(Step::Answer);
    server.next(Step::Answer);
    // What it computed after all is dropped.
    assert_eq!(stuck.await.expect("no panic"), 503);
    until(200).await;
    server.assert_empty();
    assert_eq!((server.ended("ok"), server.ended("error")), (1.0, 2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_forgotten_when_all_help_out() {
    for workers in [1, 2] {
        let inline_below = Duration::from_hours(1);
        let options =
            Options { inline_below, workers, max_batch_size: 4, queue_limit: 64, ..Options::default() };
        let server = Server::start(options);
        let requests = 2000;
        for _ in 0..requests {
            server.next(Step::Answer);
        }
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let router = server.router.clone();
            clients.spawn(async move {
                for _ in 0..100 {
                    let request = axum::http::Request::post("/predict").body(r#"{"features":[1,2]}"#.into());
                    let asked = support::ask(router.clone(), request.expect("valid"));
                    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("answered in time");
                    assert_eq!(answer.code, 200);
                }
            });
        }
        while let Some(client) = clients.join_next().await {
            client.expect("no panic");
        }
        server.assert_empty();
        assert_eq!(server.ended("ok"), 2000.0);
    }
}

const LIVE: &str = r#"{"live":true}"#;

async fn live(server: &Server) -> String {
    server.send("GET", "/v2/health/live", "").await.text().to_owned()
}

/// Nothing but what the test does executes the model: idle workers look after it rarely.
fn judged() -> Options {
    Options { unhealthy_after: Some(3), stall_timeout: Duration::from_hours(1), ..Options::default() }
}

/// Requests that the model fails on, and after the last of them what it does with the warm-up input.
async fn three_failures_and(server: &Server, probe: Step) {
    for _ in 0..3 {
        server.next(Step::Fail);
    }
    server.next(probe);
    for _ in 0..3 {
        assert_eq!(server.predict().await.expect("no panic"), 500);
    }
}

#[tokio::test]
async fn a_model_that_fails_on_requests_and_on_the_warm_up_input_is_not_live_until_it_succeeds() {
    let server = Server::start(judged());
    three_failures_and(&server, Step::Panic).await;
    server.until(r#"model_failed{model="m",reason="failing",version="3"}"#, 1.0).await;
    let reason = "the model fails on every request and on the warm-up input";
    assert_eq!(live(&server).await, format!(r#"{{"live":false,"reason":"{reason}"}}"#));
    let health = server.send("GET", "/health", "").await;
    assert_eq!((health.code, health.text()), (503, reason));
    assert_eq!(server.metric(r#"model_ready{model="m",version="3"}"#), 0.0);
    // It is still asked, and one success is enough.
    server.next(Step::Answer);
    assert_eq!(server.predict().await.expect("no panic"), 200);
    server.until(r#"model_ready{model="m",version="3"}"#, 1.0).await;
    assert_eq!(live(&server).await, LIVE);
    assert_eq!(server.metric(r#"model_failed{model="m",reason="failing",version="3"}"#), 0.0);
}

#[tokio::test]
async fn what_clients_send_decides_nothing_while_the_model_computes_the_warm_up_input() {
    let server = Server::start(judged());
    three_failures_and(&server, Step::Answer).await;
    server.next(Step::Fail);
    assert_eq!(server.predict().await.expect("no panic"), 500);
    assert_eq!(live(&server).await, LIVE);
    assert_eq!(server.send("GET", "/health", "").await.code, 200);
    // The warm-up input is none of the executions.
    assert_eq!(server.metric(r#"inference_batch_size_count{model="m"}"#), 4.0);
}

#[tokio::test]
async fn a_lost_device_is_told_and_nothing_is_sent_to_it() {
    let server = Server::start(judged());
    server.next(Step::Device);
    server.next(Step::Device);
    let answer = server.send("POST", "/predict", r#"{"features":[1]}"#).await;
    let reason = "the model's device does not work any more";
    assert_eq!((answer.code, answer.text()), (503, format!(r#"{{"detail":"{reason}"}}"#).as_str()));
    assert_eq!(live(&server).await, format!(r#"{{"live":false,"reason":"{reason}"}}"#));
    assert_eq!(server.metric(r#"model_failed{model="m",reason="device_lost",version="3"}"#), 1.0);
    // Only the warm-up input is, should it be time for it.
    server.next(Step::Device);
    assert_eq!(server.predict().await.expect("no panic"), 503);
    assert_eq!(server.metric(r#"inference_batch_size_count{model="m"}"#), 1.0);
    server.assert_empty();
}

#[tokio::test]
async fn a_device_that_computes_the_warm_up_input_is_not_lost() {
    let server = Server::start(judged());
    server.next(Step::Device);
    server.next(Step::Answer);
    assert_eq!(server.predict().await.expect("no panic"), 500);
    assert_eq!(live(&server).await, LIVE);
}

#[tokio::test]
async fn a_model_in_trouble_is_looked_after_when_there_is_nothing_to_do() {
    let server = Server::start(Options { stall_timeout: Duration::from_secs(8), ..judged() });
    three_failures_and(&server, Step::Fail).await;
    server.next(Step::Answer);
    server.until(r#"model_ready{model="m",version="3"}"#, 1.0).await;
    assert_eq!(live(&server).await, LIVE);
}

#[tokio::test]
async fn after_a_lack_of_memory_batches_are_smaller() {
    let server = Server::start(Options { max_batch_size: 8, ..Options::default() });
    let (first, others) = one_runs_and_three_wait(&server).await;
    for step in [Step::Answer, Step::OutOfMemory, Step::Answer, Step::Answer] {
        server.next(step);
    }
    for client in others.into_iter().chain([first]) {
        assert_eq!(client.await.expect("no panic"), 200);
    }
    server.until("inference_max_batch_size", 1.0).await;
}
