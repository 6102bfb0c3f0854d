//! Objects become bytes: one module for each form (`docs/contract.md#negotiation`).
//!
//! JSON and protobuf are written straight from the objects. YAML is made of the JSON: its keys are sorted, and it is
//! for people.

pub mod gzip;
mod object;
pub mod protobuf;
pub mod yaml;

use bytes::Bytes;
use serde::Serialize;

use crate::media_type::Form;
pub use object::Object;

/// The body of an object in a form.
///
/// # Errors
/// An object that serde cannot write; those of the API hold only texts, numbers and lists of them, and always can be.
pub fn encode(object: &impl Object, form: Form) -> Result<Bytes, serde_json::Error> {
    match form {
        Form::Protobuf => Ok(protobuf::encode(object)),
        form => text(object, form),
    }
}

/// The body of an object that has no protobuf message; negotiation never picks protobuf for one.
///
/// # Errors
/// As [`encode`].
pub fn text(object: &impl Serialize, form: Form) -> Result<Bytes, serde_json::Error> {
    let mut body = Vec::with_capacity(256);
    match form {
        Form::Yaml => return Ok(yaml::encode(&serde_json::to_string(object)?)?.into()),
        Form::Json { pretty: true } => {
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"  ");
            object.serialize(&mut serde_json::Serializer::with_formatter(&mut body, formatter))?;
        }
        Form::Json { pretty: false } | Form::Protobuf => {
            serde_json::to_writer(&mut body, object)?;
            body.push(b'\n');
        }
    }
    Ok(body.into())
}
