//! The guard that counts each request once.

use super::outcome::Outcome;
use super::tally::Tallies;

/// A request under way, from its head to its answer. Dropped without an outcome, its client left.
pub struct Counted<'a> {
    pub(super) tallies: &'a Tallies,
    pub(super) outcome: Outcome,
}

impl Counted<'_> {
    /// How the request ends.
    pub fn ends(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.tallies.mine().outcomes.count(self.outcome);
    }
}
