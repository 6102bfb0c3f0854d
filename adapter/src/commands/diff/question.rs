//! A question.

/// One path for both servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) path: String,
    /// The number by which any difference of the answers is explained.
    pub(super) chance: Option<&'static str>,
}

impl Question {
    /// One whose answers must not differ.
    pub(super) fn new(path: String) -> Question {
        Question { path, chance: None }
    }
}
