//! Objects become bytes: one module for each form (contract, section 7).
//!
//! JSON and protobuf are written straight from the objects. YAML goes through a tree of values: its keys are sorted, and
//! it is for people.

pub mod protobuf;
pub mod yaml;

use serde::Serialize;

/// An object that can be the whole of an answer, in every form: its JSON and YAML are its [`Serialize`], its protobuf
/// message is its [`protobuf::Encode`].
pub trait Object: Serialize + protobuf::Encode {
    /// `apiVersion` as the envelope of protobuf names it; empty where upstream leaves it so.
    fn api_version(&self) -> &'static str;

    /// `kind`, likewise.
    fn kind(&self) -> &'static str;
}
