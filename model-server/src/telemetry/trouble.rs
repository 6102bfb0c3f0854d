//! What is wrong with a model that was loaded and warm.

/// A state that only a restart, or an execution that succeeds after all, ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelTrouble {
    /// The model fails on every request, and on the input that it was warmed with.
    Failing,
    /// The device that it computes on does not work any more.
    DeviceLost,
}

impl ModelTrouble {
    pub(super) const ALL: [ModelTrouble; 2] = [ModelTrouble::Failing, ModelTrouble::DeviceLost];

    pub(super) fn label(self) -> &'static str {
        match self {
            ModelTrouble::Failing => "failing",
            ModelTrouble::DeviceLost => "device_lost",
        }
    }
}
