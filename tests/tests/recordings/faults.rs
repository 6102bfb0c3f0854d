//! Every way in which Prometheus was made to fail while upstream was recorded: ours beside upstream's.

use std::collections::BTreeMap;

use e2e::comparison::Request;
use e2e::component::left_out;
use e2e::proxy::Fault;
use e2e::{Failure, stack, until};
use serde_json::{Value, json};

use super::{MINUTE, Stage, recordings};

/// Answered by one query.
const GOOD: &str = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/model-b/request_queue_depth";

/// What ours does under a fault.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ours {
    /// An error with this code, whatever is asked.
    Error(u16),
    /// The value that the fault's answer holds for the pod `model-b`.
    Value(&'static str),
    /// No sample of it has a value: 500 with the cause where it is asked for.
    NoQuantity,
    /// There is no sample of what is asked for: an empty list, or 404.
    Nothing,
}

/// Each fault and what it must come to (`docs/contract.md#differences`, D19, D25, D27).
const EXPECTED: [(&str, Ours); 24] = [
    ("503", Ours::Error(503)),
    ("502html", Ours::Error(503)),
    ("429", Ours::Error(503)),
    ("401", Ours::Error(503)),
    ("200html", Ours::Error(503)),
    ("truncated", Ours::Error(503)),
    ("empty-body", Ours::Error(503)),
    ("422", Ours::Error(500)),
    ("400", Ours::Error(500)),
    ("503timeout", Ours::Error(504)),
    ("500internal", Ours::Error(503)),
    ("matrix", Ours::Error(500)),
    ("string", Ours::Error(500)),
    ("warnings", Ours::Value("3")),
    ("histogram", Ours::Nothing),
    ("dup", Ours::Value("4")),
    ("old", Ours::Value("3")),
    ("huge", Ours::NoQuantity),
    ("neginf", Ours::NoQuantity),
    ("nan", Ours::Value("0")),
    ("unasked", Ours::Nothing),
    ("reset", Ours::Error(503)),
    ("hang", Ours::Error(504)),
    ("down", Ours::Error(503)),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_fault_is_an_error_with_its_cause() -> Result<(), Failure> {
    let Some(recordings) = recordings() else { return Ok(()) };
    let Some(stage) = Stage::start(&recordings).await? else { return left_out("kube-apiserver") };
    let text = std::fs::read_to_string(recordings.join("faults-prometheus-adapter-0.12.json"))?;
    let recording: Value = serde_json::from_str(&text)?;
    let expected: BTreeMap<&str, Ours> = EXPECTED.into();
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    let mut last = "";
    for upstream in recording["answers"].as_array().ok_or("no answers")? {
        let name = upstream["fault"].as_str().ok_or("no fault")?;
        let path = upstream["path"].as_str().ok_or("no path")?;
        let ours = *expected.get(name).ok_or_else(|| format!("nothing is expected of the fault {name}"))?;
        if name != last {
            // The fault before may have opened the circuit breaker.
            stage.proxy.set_fault(None).await?;
            until("a value again", MINUTE, || async {
                Ok(stage.ask(&request(GOOD)).await?.answer.code == 200)
            })
            .await?;
            last = name;
        }
        stage.proxy.set_fault(Some(fault(&recording["faults"][name])?)).await?;
        // Not a minute for an answer that never comes.
        let asked = if name == "hang" { format!("{path}?timeout=1s") } else { path.to_owned() };
        let answer = stage.ask(&request(&asked)).await?.answer;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text()));
        let fine = judge(ours, path, answer.code, &body);
        let short = |code: &Value, body: &Value| {
            let text = body["message"].as_str().map_or_else(|| body["items"].to_string(), str::to_owned);
            format!("{code} {}", text.chars().take(150).collect::<String>())
        };
        let row = json!({
            "fault": name,
            "path": path,
            "upstream": short(&upstream["response"]["status"], &upstream["response"]["body"]),
            "ours": short(&json!(answer.code), &body),
        });
        println!(
            "{:11} {:70} {:60} {}",
            name,
            path.trim_start_matches("/apis/"),
            row["upstream"],
            row["ours"]
        );
        if !fine {
            wrong.push(format!("{name} {path}: expected {ours:?}, found {} {body}", answer.code));
        }
        rows.push(row);
    }
    stage.proxy.set_fault(None).await?;
    stack::write_report("faults", &json!({"rows": rows}))?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), 162);
    stage.cluster.stop();
    Ok(())
}

fn request(path: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        caller: "admin".to_owned(),
    }
}

fn fault(recorded: &Value) -> Result<Fault, Failure> {
    let text = |name: &str| recorded[name].as_str().unwrap_or_default().to_owned();
    Ok(match recorded.as_str() {
        Some("connection reset") => Fault::Reset,
        Some("no answer") => Fault::Hang,
        Some("connection refused") => Fault::Refused,
        Some(other) => return Err(format!("an unknown fault: {other}").into()),
        None => Fault::Answer {
            code: recorded["status"].as_u64().and_then(|code| u16::try_from(code).ok()).ok_or("no status")?,
            content_type: text("contentType"),
            body: text("body"),
        },
    })
}

/// Whether an answer is the error that it must be, or holds no other value than the fault's answer does.
fn judge(ours: Ours, path: &str, code: u16, body: &Value) -> bool {
    let message = body["message"].as_str().unwrap_or_default();
    if path == "/readyz" {
        return code == 200;
    }
    let list = path.contains('*') || path.contains("/external.") || path.ends_with("/nodes");
    let values: Vec<&str> = body["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| item["value"].as_str().unwrap_or("not a value"))
        .collect();
    let empty = (list && code == 200 && values.is_empty()) || (!list && code == 404);
    // The answers of the faults are about a pod or a queue: for a node, a namespace or another pod they hold nothing.
    let about = path.contains("/pods/*/") || path.contains("/pods/model-b/") || path.contains("/external.");
    match ours {
        Ours::Error(expected) => code == expected && !message.is_empty(),
        Ours::Value(value) if path.contains("/external.") && value == "4" => values == ["3", "4"],
        Ours::Value(value) if about => code == 200 && values == [value],
        // An external metric has no name to be asked by: any sample is one of it.
        Ours::Nothing if path.contains("/external.") && !values.is_empty() => values == ["3"],
        Ours::NoQuantity if about => code == 500 && message.contains("has no value: the sample of"),
        _ => empty,
    }
}
