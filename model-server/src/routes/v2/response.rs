//! The answer to a request to infer: JSON, with the output inside or, in binary, behind it.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::request::{HEADER_LENGTH, Wanted};
use crate::model::TensorShape;
use crate::routes::coding::Coding;
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
    numbers: &[f32],
    wanted: Wanted,
    coding: Option<Coding>,
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
            shape: [numbers.len() / tensor.width, tensor.width],
            parameters,
            data,
        }],
    };
    // Numbers and strings can always be written.
    let mut body = serde_json::to_vec(&answer).unwrap_or_default();
    let content_type = match wanted {
        Wanted::Json => HeaderValue::from_static("application/json"),
        Wanted::Binary => HeaderValue::from_static("application/octet-stream"),
    };
    let header_length = HeaderValue::from(body.len());
    if wanted == Wanted::Binary {
        body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
    let (body, coding) = Coding::compress(coding, body);
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    if wanted == Wanted::Binary {
        response.headers_mut().insert(HeaderName::from_static(HEADER_LENGTH), header_length);
    }
    if let Some(coding) = coding {
        response.headers_mut().insert(header::CONTENT_ENCODING, coding);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}
