//! The answer to a request to infer: JSON, with the output inside or, in binary, behind it.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::request::{HEADER_LENGTH, Wanted};
use crate::model::TensorShape;
use crate::telemetry::Identity;

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: [Output<'a>; 1],
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Binary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a [f32]>,
}

#[derive(Serialize)]
struct Binary {
    binary_data_size: usize,
}

pub(super) fn response(
    identity: &Identity,
    id: Option<&str>,
    tensor: &TensorShape,
    rows: usize,
    numbers: &[f32],
    wanted: Wanted,
) -> Response {
    let (parameters, data) = match wanted {
        Wanted::Json => (None, Some(numbers)),
        Wanted::Binary => (Some(Binary { binary_data_size: size_of_val(numbers) }), None),
    };
    let answer = Answer {
        model_name: &identity.model,
        model_version: &identity.version,
        id,
        outputs: [Output {
            name: &tensor.name,
            datatype: "FP32",
            shape: [rows, tensor.width],
            parameters,
            data,
        }],
    };
    if wanted == Wanted::Json {
        return crate::routes::write(StatusCode::OK, &answer);
    }
    // Numbers and strings can always be written.
    let mut body = serde_json::to_vec(&answer).unwrap_or_default();
    let header_length = HeaderValue::from(body.len());
    body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (HeaderName::from_static(HEADER_LENGTH), header_length),
    ];
    (headers, body).into_response()
}
