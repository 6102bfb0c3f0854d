//! A document that is asked for again and again: rendered once, in every form, each with its entity tag.

use std::fmt::Write as _;

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::encode::{self, Object};
use crate::media_type::Form;

/// A document in every form.
#[derive(Debug, Clone)]
pub struct Document {
    compact: Rendered,
    pretty: Rendered,
    yaml: Rendered,
    protobuf: Rendered,
}

/// One form of a document.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The bytes.
    pub body: Bytes,
    /// The entity tag, quoted and strong: it changes with every byte of the body.
    pub etag: HeaderValue,
}

impl Document {
    pub(crate) fn of(object: &impl Object) -> Document {
        // Documents hold only strings, booleans and lists of them: serde_json writes those without fail.
        let render = |form| Rendered::of(encode::encode(object, form).unwrap_or_default());
        Document {
            compact: render(Form::Json { pretty: false }),
            pretty: render(Form::Json { pretty: true }),
            yaml: render(Form::Yaml),
            protobuf: render(Form::Protobuf),
        }
    }

    /// The document in a form.
    pub fn form(&self, form: Form) -> &Rendered {
        match form {
            Form::Json { pretty: false } => &self.compact,
            Form::Json { pretty: true } => &self.pretty,
            Form::Yaml => &self.yaml,
            Form::Protobuf => &self.protobuf,
        }
    }
}

impl Rendered {
    /// A body with the tag that its bytes make.
    pub fn of(body: Bytes) -> Rendered {
        let digest = Sha256::digest(&body);
        let mut tag = String::with_capacity(2 * digest.len() + 2);
        tag.push('"');
        for byte in digest {
            let _ = write!(tag, "{byte:02X}");
        }
        tag.push('"');
        // Hexadecimal digits and quotes are always a valid header value.
        let etag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
        Rendered { body, etag }
    }
}
