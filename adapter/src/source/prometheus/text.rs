//! Texts of an answer that are kept: many are equal, and those are shared.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Visitor};

/// Reads a text and keeps it as the function says: anew, or as an equal one that is there already.
pub(super) struct Text<F>(pub(super) F);

impl<'de, F: FnOnce(&str) -> Arc<str>> DeserializeSeed<'de> for Text<F> {
    type Value = Arc<str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Arc<str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<F: FnOnce(&str) -> Arc<str>> Visitor<'_> for Text<F> {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Arc<str>, E> {
        Ok((self.0)(text))
    }
}
