//! No client ever gets a part of another's answer, whatever is computed together: many clients ask at the same time,
//! with rows that are told apart, and a model that fails, panics, lacks memory and gives back what it was given.
//!
//! `MIXING_ROWS=1000000 cargo test --release -p model-server --test server mixing` asks for a million rows (`make
//! test-mixing`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{self, Options, Server};
use axum::body::Body;
use axum::http::Request;
use model_server::model::{InferError, Loader, Model, ModelError};
use model_server::tensor::{DataType, Dim, Signature, Tensor, TensorSpec};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

/// Gives back each row with its neighbours' number: `id`, the sum of its `values`, its `text`, and how many rows there
/// were.
struct Echo {
    signature: Signature,
    seen: Arc<Seen>,
}

/// What the model was asked, so that the test knows that it showed something.
#[derive(Default)]
struct Seen {
    executions: AtomicU64,
    joined: AtomicU64,
    refused: AtomicU64,
    short_of_memory: AtomicU64,
    panicked: AtomicU64,
}

struct EchoLoader(Arc<Seen>);

impl Loader for EchoLoader {
    fn load(&self) -> Result<Box<dyn Model>, ModelError> {
        let spec = |name: &str, datatype, shape: &[Dim]| TensorSpec {
            name: name.to_owned(),
            datatype,
            shape: Some(shape.to_vec()),
            optional: name == "text",
        };
        let row = [Dim::Dynamic];
        let inputs = vec![
            spec("id", DataType::Int64, &row),
            spec("values", DataType::Fp32, &[Dim::Dynamic, Dim::Dynamic]),
            spec("text", DataType::Bytes, &row),
        ];
        let outputs = vec![
            spec("id", DataType::Int64, &row),
            spec("sum", DataType::Fp64, &row),
            spec("text", DataType::Bytes, &row),
            spec("rows", DataType::Uint32, &row),
        ];
        Ok(Box::new(Echo { signature: Signature::new(inputs, outputs), seen: Arc::clone(&self.0) }))
    }
}

impl Model for Echo {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn infer(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, InferError> {
        let [Some(id), Some(values), text] = inputs else {
            panic!("expected ids and values, found {inputs:?}")
        };
        let ids = id.numbers::<i64>().expect("whole numbers");
        let (rows, width) = (ids.len(), values.shape()[1]);
        assert_eq!(values.shape()[0], rows, "as many rows of each input");
        self.seen.executions.fetch_add(1, Ordering::Relaxed);
        let first = ids[0];
        // An id of 0 is the warm-up's.
        if first > 0 {
            if ids.iter().any(|id| id % 101 == 0) {
                self.seen.refused.fetch_add(1, Ordering::Relaxed);
                return Err(InferError::refused("an id that it refuses"));
            }
            if rows > 12 && first % 13 == 0 {
                self.seen.short_of_memory.fetch_add(1, Ordering::Relaxed);
                return Err(InferError::OutOfMemory(format!("{rows} rows")));
            }
            if first % 293 == 0 {
                self.seen.panicked.fetch_add(1, Ordering::Relaxed);
                panic!("an id that it does not bear");
            }
        }
        if ids.iter().any(|id| id / ROWS_OF_A_CLIENT != first / ROWS_OF_A_CLIENT) {
            self.seen.joined.fetch_add(1, Ordering::Relaxed);
        }
        let numbers = values.numbers::<f32>().expect("single precision");
        let sum = |row: &[f32]| row.iter().map(|number| f64::from(*number)).sum::<f64>();
        // A row without values is a row.
        let sums: Vec<f64> =
            if width == 0 { vec![0.0; rows] } else { numbers.chunks(width).map(sum).collect() };
        let texts: Vec<&[u8]> = match text {
            Some(text) => text.strings().collect(),
            None => vec![b"none"; rows],
        };
        Ok(vec![
            id.clone(),
            Tensor::of(vec![rows], &sums)?,
            Tensor::of_strings(vec![rows], &texts)?,
            Tensor::of(vec![rows], &vec![rows as u32; rows])?,
        ])
    }
}

/// What one client asks at a time.
#[derive(Debug, Clone)]
struct Plan {
    rows: usize,
    width: usize,
    with_text: bool,
    binary: bool,
    /// It leaves without waiting for the answer.
    leaves: bool,
}

fn plans() -> impl Strategy<Value = Plan> {
    (1..=MOST_ROWS, 0..3_usize, any::<bool>(), any::<bool>(), prop::bool::weighted(0.05))
        .prop_map(|(rows, width, with_text, binary, leaves)| Plan { rows, width, with_text, binary, leaves })
}

/// The request of a client whose first row has this id, and what it should get: ids, sums and texts.
fn request(plan: &Plan, first: i64) -> (Request<Body>, serde_json::Value) {
    let Plan { rows, width, with_text, binary, .. } = *plan;
    let ids: Vec<i64> = (0..rows as i64).map(|row| first + row).collect();
    // Small enough that single precision has each of them, and the sums as well.
    let value = |id: i64, column: usize| (id / ROWS_OF_A_CLIENT * 997 + id % 100_000) as f32 + column as f32;
    let values: Vec<f32> =
        ids.iter().flat_map(|id| (0..width).map(move |column| value(*id, column))).collect();
    let texts: Vec<String> = ids.iter().map(|id| "é".repeat((id % 5) as usize) + &id.to_string()).collect();
    let sums: Vec<f64> =
        ids.iter().map(|id| (0..width).map(|column| f64::from(value(*id, column))).sum::<f64>()).collect();
    let mut inputs = vec![json!({"name": "id", "shape": [rows], "datatype": "INT64", "data": ids})];
    let mut head = json!({"name": "values", "shape": [rows, width], "datatype": "FP32"});
    let mut tail = Vec::new();
    if binary {
        tail.extend(values.iter().flat_map(|number| number.to_le_bytes()));
        head["parameters"] = json!({"binary_data_size": tail.len()});
    } else {
        head["data"] = json!(values);
    }
    inputs.push(head);
    if with_text {
        inputs.push(json!({"name": "text", "shape": [rows], "datatype": "BYTES", "data": texts}));
    }
    let none = vec!["none".to_owned(); rows];
    let expected = json!({"id": ids, "sum": sums, "text": if with_text { texts } else { none }});
    let body = json!({"inputs": inputs}).to_string();
    let length = body.len();
    let request = Request::post("/v2/models/m/infer").header("inference-header-content-length", length);
    (request.body(Body::from([body.into_bytes(), tail].concat())).expect("valid"), expected)
}

/// Asks until `rows` rows were answered; how many were, and how many were computed together with others.
async fn client(server: Arc<Server>, number: i64, seed: u64, rows: u64) -> (u64, u64) {
    let mut seeds = [0; 32];
    seeds[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seeds);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let (mut answered, mut together, mut next) = (0, 0, number * ROWS_OF_A_CLIENT + 1);
    while answered < rows {
        let plan = plans().new_tree(&mut runner).expect("a plan").current();
        let (request, expected) = request(&plan, next);
        next += plan.rows as i64;
        let router = server.router.clone();
        let asking = tokio::spawn(async move { support::ask(router, request).await });
        if plan.leaves {
            tokio::task::yield_now().await;
            asking.abort();
            continue;
        }
        let answer = asking.await.expect("no panic");
        answered += plan.rows as u64;
        if answer.code != 200 {
            // The model refused it, or there was no memory for it.
            assert!([500, 503].contains(&answer.code), "{}: {}", answer.code, answer.text());
            continue;
        }
        let answer = answer.json();
        let output = |name: &str| {
            let outputs = answer["outputs"].as_array().expect("outputs");
            outputs.iter().find(|output| output["name"] == name).expect(name)["data"].clone()
        };
        for name in ["id", "sum", "text"] {
            assert_eq!(output(name), expected[name], "{name} of {plan:?}, seed {seed}");
        }
        let rows = output("rows");
        let rows = rows.as_array().expect("a list");
        assert_eq!(rows.len(), plan.rows);
        together += u64::from(rows.iter().any(|rows| rows.as_u64() > Some(plan.rows as u64)));
    }
    (answered, together)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_client_gets_a_part_of_anothers_answer() {
    let rows: u64 =
        std::env::var("MIXING_ROWS").ok().map_or(20_000, |text| text.parse().expect("a number of rows"));
    let seen = Arc::new(Seen::default());
    let options = Options {
        workers: 2,
        max_batch_size: 24,
        max_batch_delay: Duration::from_micros(200),
        queue_limit: 256,
        loads: usize::MAX,
        ..Options::default()
    };
    let loading = Server::loading(options);
    let loader: Arc<dyn Loader> = Arc::new(EchoLoader(Arc::clone(&seen)));
    loading.load_by(&loader, &options, 1);
    let server = Arc::new(loading.server);
    let clients = (0..CLIENTS as i64).map(|number| {
        // Another one each time, told when it fails.
        let seed = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64 ^ number as u64;
        tokio::spawn(client(Arc::clone(&server), number + 1, seed, rows / CLIENTS))
    });
    let (mut answered, mut together) = (0, 0);
    for client in clients.collect::<Vec<_>>() {
        let (rows, joined) = client.await.expect("every answer is its client's own");
        answered += rows;
        together += joined;
    }
    server.until("request_queue_depth", 0.0).await;
    server.assert_empty();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert!(answered >= rows - CLIENTS);
    // It shows nothing unless all of it happened.
    assert!(together > 0 && count(&seen.joined) > 0, "nothing was computed together");
    for (what, counter) in
        [("refused", &seen.refused), ("out of memory", &seen.short_of_memory), ("panicked", &seen.panicked)]
    {
        assert!(count(counter) > 0, "nothing was {what}");
    }
}

const CLIENTS: u64 = 32;
/// Rows of a request at most.
const MOST_ROWS: usize = 9;
/// More than a client asks for, so that ids tell clients apart.
const ROWS_OF_A_CLIENT: i64 = 10_000_000;
