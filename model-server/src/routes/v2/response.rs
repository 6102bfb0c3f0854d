//! The answer to a request to infer: JSON, with the output inside or, in binary, behind it.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::request::HEADER_LENGTH;
use crate::routes::cells::Cells;
use crate::routes::coding::Coding;
use crate::telemetry::Identity;
use crate::tensor::Tensor;

/// An output of the answer.
pub(super) struct Answered<'a> {
    pub(super) name: &'a str,
    pub(super) tensor: &'a Tensor,
    /// It lies behind the JSON.
    pub(super) binary: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Binary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Cells<'a>>,
}

#[derive(Serialize)]
struct Binary {
    binary_data_size: usize,
}

/// The answer with these outputs.
///
/// # Errors
/// One that is wanted in JSON has something that JSON has no form for.
pub(super) fn response(
    identity: &Identity,
    id: Option<&str>,
    answered: &[Answered<'_>],
    coding: Option<Coding>,
) -> Result<Response, String> {
    if let Some(Answered { name, .. }) =
        answered.iter().find(|output| !output.binary && !Cells::can_write(output.tensor))
    {
        return Err(format!(
            "output {name:?} has byte strings that are not UTF-8, for which JSON has no form; \"binary_data\": true asks \
             for them as they are"
        ));
    }
    let outputs = answered.iter().map(|Answered { name, tensor, binary }| Output {
        name,
        datatype: tensor.datatype().name(),
        shape: tensor.shape(),
        parameters: binary.then(|| Binary { binary_data_size: tensor.data().len() }),
        data: (!binary).then(|| Cells::flat(tensor)),
    });
    let answer = Answer {
        model_name: &identity.model,
        model_version: &identity.version,
        id,
        outputs: outputs.collect(),
    };
    // What cannot be written was refused.
    let mut body = serde_json::to_vec(&answer).unwrap_or_default();
    let any_binary = answered.iter().any(|output| output.binary);
    let content_type = if any_binary { "application/octet-stream" } else { "application/json" };
    let header_length = HeaderValue::from(body.len());
    for output in answered.iter().filter(|output| output.binary) {
        body.extend_from_slice(output.tensor.data());
    }
    let (body, coding) = Coding::compress(coding, body);
    let content_type = HeaderValue::from_static(content_type);
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    if any_binary {
        response.headers_mut().insert(HeaderName::from_static(HEADER_LENGTH), header_length);
    }
    if let Some(coding) = coding {
        response.headers_mut().insert(header::CONTENT_ENCODING, coding);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    Ok(response)
}
