//! Objects become bytes: one module for each form (`docs/contract.md#negotiation`).
//!
//! JSON and protobuf are written straight from the objects. YAML is made of the JSON: its keys are sorted, and it is
//! for people.

pub mod gzip;
mod object;
pub mod protobuf;
pub mod yaml;

use std::io::{self, Write};

use bytes::Bytes;
use serde::Serialize;

use crate::media_type::Form;
pub use object::Object;

/// The body of an object in a form.
///
/// # Errors
/// An object that serde cannot write; those of the API hold only texts, numbers and lists of them, and always can be.
pub fn encode(object: &impl Object, form: Form) -> io::Result<Bytes> {
    match form {
        Form::Protobuf => Ok(protobuf::encode(object)),
        form => text(object, form),
    }
}

/// The body of an object that has no protobuf message; negotiation never picks protobuf for one.
///
/// # Errors
/// As [`encode`].
pub fn text(object: &impl Serialize, form: Form) -> io::Result<Bytes> {
    let mut body = Vec::with_capacity(256);
    write_text(object, form, &mut body)?;
    Ok(body.into())
}

/// Writes the body of an object in a form, JSON without holding it.
///
/// # Errors
/// As [`encode`], and what fails of the writer.
pub(crate) fn write(object: &impl Object, form: Form, to: &mut dyn Write) -> io::Result<()> {
    match form {
        Form::Protobuf => to.write_all(&protobuf::encode(object)),
        form => write_text(object, form, to),
    }
}

fn write_text(object: &impl Serialize, form: Form, mut to: impl Write) -> io::Result<()> {
    match form {
        Form::Yaml => to.write_all(yaml::encode(&serde_json::to_string(object)?)?.as_bytes()),
        Form::Json { pretty: true } => {
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"  ");
            Ok(object.serialize(&mut serde_json::Serializer::with_formatter(to, formatter))?)
        }
        Form::Json { pretty: false } | Form::Protobuf => {
            serde_json::to_writer(&mut to, object)?;
            to.write_all(b"\n")
        }
    }
}
