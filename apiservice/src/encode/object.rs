//! The trait of objects that can be a whole answer.

use serde::Serialize;

use super::protobuf::Encode;

/// An object that can be the whole of an answer, in every form: its JSON and YAML are its [`Serialize`], its protobuf
/// message is its [`Encode`].
pub trait Object: Serialize + Encode {
    /// `apiVersion` as the envelope of protobuf names it; empty where upstream leaves it so.
    fn api_version(&self) -> &'static str;

    /// `kind`, likewise.
    fn kind(&self) -> &'static str;
}
