//! Answers of prometheus-adapter and of the adapter to one request: what differs, and by which number of
//! `docs/contract.md`.
//!
//! Only what no two answers can share is made alike first: times, generated names, and orders that prometheus-adapter
//! leaves to chance. Whatever else differs must be what a number says, each undone at its own place only
//! (`deviations`). Tests compare what was on the wire ([`View::Wire`]), `adapter diff` what answers mean
//! ([`View::Meaning`]). Pure: no I/O.

mod context;
mod deviations;
mod differences;
mod exchange;
mod json;
mod normal;

pub use deviations::title;
pub use differences::Difference;
pub use exchange::{Answer, Exchange, Layout, Reader, Request, Sample, Seen, View};
pub use json::Json;

use normal::Normal;

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing differs.
    Equal,
    /// What differs is what these numbers of `docs/contract.md` say.
    Deviates(Vec<&'static str>),
    /// The other answer as it should have been, by the numbers that apply, and ours.
    Unexplained {
        /// The numbers that apply. They explain a part of what differs, or none.
        by: Vec<&'static str>,
        /// The other one, corrected.
        expected: String,
        /// Ours.
        found: String,
        /// Where they differ. Never empty by [`View::Meaning`]; by [`View::Wire`] without headers, queries and layout.
        differences: Vec<Difference>,
    },
}

/// Compares what both servers did with a request.
pub fn verdict(exchange: &Exchange) -> Verdict {
    let normal = |seen: &Seen| Normal::of(seen, exchange.view, exchange.read).without(&exchange.growing);
    let ours = normal(&exchange.ours);
    let mut expected = normal(&exchange.upstream);
    let by = deviations::correct(&mut expected, exchange, &ours);
    expected.sort_keys();
    match (expected == ours, exchange.chance) {
        (true, _) if by.is_empty() => Verdict::Equal,
        (true, _) => Verdict::Deviates(by),
        (false, Some(number)) => Verdict::Deviates(vec![number]),
        (false, None) => Verdict::Unexplained {
            by,
            differences: differences::between(&expected, &ours),
            expected: expected.to_string(),
            found: ours.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
