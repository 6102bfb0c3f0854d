//! The Open Inference Protocol, as its clients use it.

use std::io::Write as _;

use axum::body::Body;
use axum::http::Request;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::{Answer, Options, Server, Step};

fn server() -> Server {
    Server::start(Options { max_batch_size: 4, ..Options::default() })
}

fn request(rows: &Value) -> Value {
    let count = rows.as_array().expect("rows").len();
    json!({"inputs": [{"name": "x", "shape": [count, 2], "datatype": "FP32", "data": rows}]})
}

async fn infer(server: &Server, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::post("/v2/models/m/infer");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.ask(request.body(Body::from(body)).expect("valid")).await
}

#[tokio::test]
async fn json_in_and_out() {
    let server = server();
    server.next(Step::Answer);
    let mut body = request(&json!([[1, 2], [3, 4], [0.5, 0]]));
    body["id"] = json!("request 7");
    let answer = infer(&server, &[], body.to_string().into_bytes()).await;
    assert_eq!(answer.code, 200);
    assert_eq!(
        answer.json(),
        json!({
            "model_name": "m",
            "model_version": "3",
            "id": "request 7",
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [3, 1], "data": [21.0, 43.0, 0.5]}],
        })
    );
    assert_eq!(server.metric(r#"inference_batch_size_sum{model="m"}"#), 3.0);
    assert_eq!(server.ended("ok"), 1.0);
}

#[tokio::test]
async fn binary_in_and_out() {
    let server = server();
    let numbers = |numbers: &[f32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let json = json!({
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let body = [json.as_bytes(), &numbers(&[1.0, 2.0, 3.0, 4.0])].concat();
    server.next(Step::Answer);
    let length = json.len().to_string();
    let answer = infer(&server, &[("inference-header-content-length", &length)], body).await;
    assert_eq!((answer.code, answer.header("content-type")), (200, Some("application/octet-stream")));
    let length: usize =
        answer.header("inference-header-content-length").expect("there").parse().expect("a number");
    let (head, tail) = answer.body.split_at(length);
    let head: Value = serde_json::from_slice(head).expect("JSON");
    assert_eq!(
        head["outputs"],
        json!([{"name": "y", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}}])
    );
    assert_eq!(tail, numbers(&[21.0, 43.0]));

    // Nothing but the numbers.
    server.next(Step::Answer);
    let raw = numbers(&[1.0, 2.0]);
    let answer = infer(&server, &[("inference-header-content-length", "0")], raw).await;
    assert_eq!(answer.code, 200);
    assert!(answer.body.ends_with(&numbers(&[21.0])));

    // Binary in, JSON out.
    server.next(Step::Answer);
    let json = json!({
        "parameters": {"binary_data_output": false},
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
    })
    .to_string();
    let length = json.len().to_string();
    let body = [json.as_bytes(), &numbers(&[1.0, 2.0])].concat();
    let answer = infer(&server, &[("inference-header-content-length", &length)], body).await;
    assert_eq!(answer.json()["outputs"][0]["data"], json!([21.0]));
}

#[tokio::test]
async fn compressed_bodies() {
    let server = server();
    let plain = request(&json!([[1, 2]])).to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain.as_bytes()).expect("memory");
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(plain.as_bytes()).expect("memory");
    let bodies = [("gzip", gzip.finish().expect("memory")), ("deflate", zlib.finish().expect("memory"))];
    for (encoding, body) in bodies {
        server.next(Step::Answer);
        let answer = infer(&server, &[("content-encoding", encoding)], body).await;
        assert_eq!(answer.code, 200, "{encoding}: {}", answer.text());
        assert_eq!(answer.json()["outputs"][0]["data"], json!([21.0]));
    }
    let answer = infer(&server, &[("content-encoding", "br")], b"x".to_vec()).await;
    assert_eq!(answer.code, 415);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::default());
    bomb.write_all(&vec![b' '; 100_000]).expect("memory");
    let answer = infer(&server, &[("content-encoding", "gzip")], bomb.finish().expect("memory")).await;
    assert_eq!(answer.code, 413);
}

#[tokio::test]
async fn errors_say_what_was_expected() {
    let server = server();
    let rows = |count: usize| json!(vec![[1, 2]; count]);
    for (path, body, code, expected) in [
        ("m", "{".to_owned(), 400, "expected a request to infer: EOF"),
        ("m", request(&rows(5)).to_string(), 400, "expected at most 4 rows, found 5"),
        ("other", request(&rows(1)).to_string(), 404, r#"expected model "m", found "other""#),
        (
            "m/versions/4",
            request(&rows(1)).to_string(),
            404,
            r#"expected version "3" of model "m", found "4""#,
        ),
    ] {
        let answer = server.send("POST", &format!("/v2/models/{path}/infer"), &body).await;
        assert_eq!(answer.code, code, "{path}");
        let text = answer.json()["error"].as_str().expect("an error").to_owned();
        assert!(text.starts_with(expected), "{text}");
    }
    assert_eq!(server.ended("invalid"), 4.0);
    // Whose fault it is is not known before the model computed something.
    for (step, code) in [(Step::Invalid, 500), (Step::Answer, 200)] {
        server.next(step);
        assert_eq!(
            server.send("POST", "/v2/models/m/infer", &request(&rows(1)).to_string()).await.code,
            code
        );
    }
    server.next(Step::Invalid);
    let answer = server.send("POST", "/v2/models/m/infer", &request(&rows(1)).to_string()).await;
    let reason = r#"{"error":"the model refuses the inputs: index 7 of 5"}"#;
    assert_eq!((answer.code, answer.text()), (400, reason));
    assert_eq!(server.ended("invalid"), 5.0);
    server.next(Step::Fail);
    let answer = server.send("POST", "/v2/models/m/infer", &request(&rows(1)).to_string()).await;
    assert_eq!((answer.code, answer.text()), (500, r#"{"error":"the model failed on this request"}"#));
    server.next(Step::Answer);
    let answer = server.send("POST", "/v2/models/m/versions/3/infer", &request(&rows(4)).to_string()).await;
    assert_eq!(answer.code, 200);
}

#[tokio::test]
async fn the_server_and_its_model_describe_themselves() {
    let server = server();
    for path in ["/v2", "/v2/"] {
        let about = server.send("GET", path, "").await.json();
        assert_eq!(about["name"], "model-server");
        assert!(about["extensions"].as_array().expect("a list").contains(&json!("binary_tensor_data")));
    }
    for path in ["/v2/models/m", "/v2/models/m/versions/3"] {
        assert_eq!(
            server.send("GET", path, "").await.json(),
            json!({
                "name": "m",
                "versions": ["3"],
                "platform": "tract_onnx",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
            })
        );
    }
    let ready = server.send("GET", "/v2/models/m/versions/3/ready", "").await;
    assert_eq!((ready.code, ready.text()), (200, r#"{"name":"m","ready":true}"#));
    let config = server.send("GET", "/v2/models/m/config", "").await.json();
    assert_eq!(config["max_batch_size"], 4);
    assert_eq!(config["input"], json!([{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}]));
    for path in ["/v2/models/n", "/v2/models/n/ready", "/v2/models/n/config", "/v2/models/m/versions/1/stats"]
    {
        assert_eq!(server.send("GET", path, "").await.code, 404, "{path}");
    }
}

#[tokio::test]
async fn statistics_are_those_of_the_metrics() {
    let server = server();
    server.next(Step::Answer);
    let body = request(&json!([[1, 2], [3, 4]])).to_string();
    assert_eq!(server.send("POST", "/v2/models/m/infer", &body).await.code, 200);
    assert_eq!(server.send("POST", "/v2/models/m/infer", "x").await.code, 400);
    for path in ["/v2/models/m/stats", "/v2/models/m/versions/3/stats", "/v2/models/stats"] {
        let stats = server.send("GET", path, "").await.json()["model_stats"][0].clone();
        assert_eq!((&stats["name"], &stats["version"]), (&json!("m"), &json!("3")));
        assert_eq!((&stats["inference_count"], &stats["execution_count"]), (&json!(2), &json!(1)));
        let stats = &stats["inference_stats"];
        assert_eq!((&stats["success"]["count"], &stats["fail"]["count"]), (&json!(1), &json!(1)));
        assert_eq!((&stats["queue"]["count"], &stats["compute_infer"]["count"]), (&json!(1), &json!(1)));
        assert!(stats["success"]["ns"].as_u64().expect("a number") > 0);
    }
}

#[tokio::test]
async fn kserves_first_protocol() {
    let server = server();
    server.next(Step::Answer);
    let answer = server.send("POST", "/v1/models/m:predict", r#"{"instances":[[1,2],[3,4]]}"#).await;
    assert_eq!((answer.code, answer.text()), (200, r#"{"predictions":[[21.0],[43.0]]}"#));
    let ready = server.send("GET", "/v1/models/m", "").await;
    assert_eq!((ready.code, ready.text()), (200, r#"{"name":"m","ready":true}"#));
    let models = server.send("GET", "/v1/models", "").await;
    assert_eq!((models.code, models.text()), (200, r#"{"models":["m"]}"#));
    for (method, path, code, text) in [
        ("GET", "/v2/trace/setting", 404, "expected a path of this server, found \"/v2/trace/setting\""),
        ("GET", "/predict", 405, "expected another method for \"/predict\", found \"GET\""),
    ] {
        let answer = server.send(method, path, "").await;
        assert_eq!((answer.code, answer.json()["error"].as_str()), (code, Some(text)));
    }
    for (path, body, code, expected) in [
        ("m:predict", r#"{"instances":[]}"#, 400, "expected 1 to 4 instances, found 0"),
        ("m:predict", r#"{"instances":[[1],[1,2]]}"#, 400, "expected 2 numbers in instance 0, found 1"),
        (
            "m:predict",
            r#"{"instances":[[1,1e39]]}"#,
            400,
            "expected a number of FP32 at 1 of instance 0, found 1e39",
        ),
        (
            "m:predict",
            "{}",
            400,
            "expected instances to predict: missing field `instances` at line 1 column 2",
        ),
        ("n:predict", "{}", 404, r#"expected model "m", found "n""#),
        ("m:explain", "{}", 404, r#"expected MODEL:predict, found "m:explain""#),
    ] {
        let answer = server.send("POST", &format!("/v1/models/{path}"), body).await;
        assert_eq!((answer.code, answer.json()["error"].as_str()), (code, Some(expected)), "{body}");
    }
    assert_eq!(server.ended("invalid"), 6.0);
}

#[tokio::test]
async fn errors_say_what_is_wrong_in_words_of_json_and_repeat_no_long_text() {
    let server = server();
    let long = "x".repeat(3000);
    let input = |field: &str, value: Value| {
        let mut input = json!({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]});
        input[field] = value;
        json!({"inputs": [input]})
    };
    let texts = ["name", "datatype", "shape", "data", "parameters"].map(|field| input(field, json!(long)));
    let others = [
        json!([]),
        json!(long),
        json!(7),
        json!({"inputs": long}),
        json!({"inputs": {}}),
        json!({"inputs": [[]]}),
        json!({"inputs": vec![json!({}); 500]}),
        json!({"inputs": [], "outputs": long}),
        json!({"inputs": [], "id": 5}),
        json!({"inputs": [], "parameters": []}),
        json!({"inputs": [], "parameters": {"timeout": long}}),
        json!({"inputs": [], "parameters": {"timeout": -1}}),
        json!({"inputs": [], "parameters": {"binary_data_output": long}}),
        input("shape", json!(vec![1; 1000])),
        input("shape", json!([1, -2])),
        input("data", json!({"x": 1})),
        input("data", json!([[long]])),
        input("parameters", json!({"binary_data_size": 1.5})),
    ];
    let mut with_id = request(&json!([[1, 2]]));
    with_id["id"] = json!(long);
    let all = texts.into_iter().chain(others).chain([with_id]);
    let paths = ["/v2/models/m/infer", "/v1/models/m:predict"];
    for (body, path) in all.flat_map(|body| paths.map(|path| (body.to_string(), path))) {
        let answer = server.send("POST", path, &body).await;
        let text = answer.text();
        assert_eq!(answer.code, 400, "{path} {body}: {text}");
        assert!(text.len() < 400, "{} bytes: {}", text.len(), &text[..400]);
        for word in ["struct", "u64", "usize", "f32", "map", "sequence", "tuple", "unit", "element"] {
            assert!(!text.contains(word), "{word} in {text} for {body}");
        }
    }
    for path in [
        format!("/v2/models/{long}/infer"),
        format!("/v1/models/{long}:predict"),
        format!("/v1/models/{long}"),
    ] {
        let answer = server.send("POST", &path, "{}").await;
        assert_eq!(answer.code, 404, "{path}");
        assert!(answer.body.len() < 400, "{}", answer.text());
    }
}

#[tokio::test]
async fn of_many_instances_no_more_are_kept_than_the_model_takes() {
    let server = server();
    for (instances, expected) in [
        (vec!["[]"; 1000], "expected 1 to 4 instances, found 1000"),
        (vec!["[1,2]"; 600], "expected 1 to 4 instances, found 600"),
    ] {
        let body = format!(r#"{{"instances":[{}],"x":[{{}}]}}"#, instances.join(","));
        let answer = server.send("POST", "/v1/models/m:predict", &body).await;
        assert_eq!((answer.code, answer.json()["error"].as_str()), (400, Some(expected)));
    }
    let answer = server.send("POST", "/v1/models/m:predict", r#"{"instances":[[1,2]],"instances":[]}"#).await;
    assert!(answer.text().contains("duplicate field `instances`"), "{}", answer.text());
}
