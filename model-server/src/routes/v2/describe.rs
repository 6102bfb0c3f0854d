//! What the server and its model are, and what they did.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::named::Named;
use crate::routes::problem::error;
use crate::routes::respond::write;
use crate::routes::served::Served;
use crate::tensor::{BatchAxis, Signature, TensorSpec};
use crate::worker::Pool;

pub(super) async fn server() -> Response {
    write(
        StatusCode::OK,
        &json!({
            "name": "model-server",
            "version": env!("CARGO_PKG_VERSION"),
            "extensions": ["binary_tensor_data", "model_configuration", "schedule_policy", "statistics"],
        }),
    )
}

pub(super) async fn model(State(served): State<Arc<Served>>, Path(named): Path<Named>) -> Response {
    let signature = match signature(&served, &named) {
        Ok(signature) => signature,
        Err((code, text)) => return error(code, text),
    };
    let identity = &served.settings.identity;
    let tensors = |specs: &[TensorSpec]| -> Vec<Value> {
        let tensor = |spec: &TensorSpec| json!({"name": spec.name, "datatype": spec.datatype.name(), "shape": spec.dims()});
        specs.iter().map(tensor).collect()
    };
    write(
        StatusCode::OK,
        &json!({
            "name": identity.model,
            "versions": [identity.version],
            "platform": platform(identity.backend),
            "inputs": tensors(&signature.inputs),
            "outputs": tensors(&signature.outputs),
        }),
    )
}

/// The part of Triton's model configuration that means something here.
pub(super) async fn config(State(served): State<Arc<Served>>, Path(named): Path<Named>) -> Response {
    let signature = match signature(&served, &named) {
        Ok(signature) => signature,
        Err((code, text)) => return error(code, text),
    };
    let settings = &served.settings;
    // Where requests are computed together, Triton's dimensions are those of one row.
    let batches = signature.batch == BatchAxis::Dynamic;
    let tensor = |spec: &TensorSpec| {
        let dims = &spec.dims()[usize::from(batches)..];
        let mut tensor = json!({"name": spec.name, "data_type": spec.datatype.config_name(), "dims": dims});
        if spec.optional {
            tensor["optional"] = true.into();
        }
        tensor
    };
    let tensors = |specs: &[TensorSpec]| specs.iter().map(tensor).collect::<Vec<Value>>();
    let max_batch_size = served.life.pool().map_or(settings.max_batch_size, Pool::max_batch_size);
    let mut config = json!({
            "name": settings.identity.model,
            "platform": platform(settings.identity.backend),
            "backend": settings.identity.backend,
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": if batches { max_batch_size } else { 0 },
            "input": tensors(&signature.inputs),
            "output": tensors(&signature.outputs),
            "instance_group": [{
                "name": settings.identity.model,
                "kind": if settings.identity.device == "cpu" { "KIND_CPU" } else { "KIND_GPU" },
                "count": settings.workers,
            }],
    });
    if batches {
        let delay = settings.max_batch_delay.as_micros() as u64;
        config["dynamic_batching"] = json!({"max_queue_delay_microseconds": delay});
    }
    write(StatusCode::OK, &config)
}

pub(super) async fn stats(State(served): State<Arc<Served>>, Path(named): Path<Named>) -> Response {
    match named.check(&served) {
        Ok(()) => write(StatusCode::OK, &json!({"model_stats": [model_stats(&served)]})),
        Err(text) => error(StatusCode::NOT_FOUND, text),
    }
}

pub(super) async fn stats_of_all(State(served): State<Arc<Served>>) -> Response {
    write(StatusCode::OK, &json!({"model_stats": [model_stats(&served)]}))
}

/// Triton's statistics, from the same handles as the metrics: both always agree.
fn model_stats(served: &Served) -> Value {
    #[derive(Serialize)]
    struct Spent {
        count: u64,
        ns: u64,
    }
    let spent = |(count, seconds): (u64, f64)| Spent { count, ns: (seconds * 1e9) as u64 };
    let nothing = || Spent { count: 0, ns: 0 };
    let totals = served.telemetry.totals();
    json!({
        "name": served.settings.identity.model,
        "version": served.settings.identity.version,
        "inference_count": totals.rows as u64,
        "execution_count": totals.executions,
        "inference_stats": {
            "success": spent(totals.latency),
            "fail": Spent { count: totals.failed, ns: 0 },
            "queue": spent(totals.queue),
            "compute_input": nothing(),
            "compute_infer": spent(totals.compute),
            "compute_output": nothing(),
            "cache_hit": nothing(),
            "cache_miss": nothing(),
        },
        "batch_stats": [],
    })
}

fn signature<'a>(served: &'a Served, named: &Named) -> Result<&'a Signature, (StatusCode, String)> {
    named.check(served).map_err(|text| (StatusCode::NOT_FOUND, text))?;
    match served.life.pool() {
        Some(pool) => Ok(pool.signature()),
        None => Err((StatusCode::SERVICE_UNAVAILABLE, "model not loaded".to_owned())),
    }
}

/// In the protocol's form, `PROJECT_FORMAT`.
fn platform(backend: &str) -> &'static str {
    match backend {
        "torch" => "pytorch_torchscript",
        "onnxruntime" => "onnxruntime_onnx",
        _ => "tract_onnx",
    }
}
