//! What a rule says of samples that are missing or no number. Fields of our own, beside upstream's.

/// `onNaN`: what a NaN sample stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNan {
    /// The value 0, as upstream: `rate / rate` without traffic must read 0, or an autoscaler never scales down.
    #[default]
    Zero,
    /// No sample.
    Missing,
}

/// `onEmpty`: what an object without a sample stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnEmpty {
    /// No value, as upstream: left out of a list, 404 when asked for by name.
    #[default]
    Missing,
    /// The value 0.
    Zero,
}

/// Both policies of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// What a NaN sample stands for.
    pub on_nan: OnNan,
    /// What an object without a sample stands for.
    pub on_empty: OnEmpty,
}
