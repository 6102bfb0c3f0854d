//! Protobuf as Kubernetes writes it (`docs/contract.md#protobuf`): a magic number, an envelope that names the object's
//! type, and in it the object's message.
//!
//! Written by hand: a dozen small messages, each beside its type, and byte for byte what upstream's generated code
//! makes. That code writes every plain field, empty and zero ones included, which general protobuf libraries leave out.

mod message;

use bytes::Bytes;

use super::object::Object;
pub use message::{Encode, Message};

/// An object with its envelope.
pub fn encode(object: &impl Object) -> Bytes {
    let mut envelope = Message { bytes: Vec::with_capacity(256) };
    envelope.bytes.extend_from_slice(MAGIC);
    envelope.nested(1, |type_meta| {
        type_meta.string(1, object.api_version());
        type_meta.string(2, object.kind());
    });
    envelope.message(2, object);
    // Encoding and type of the content: always the default.
    envelope.string(3, "");
    envelope.string(4, "");
    envelope.bytes.into()
}

const MAGIC: &[u8] = b"k8s\0";
