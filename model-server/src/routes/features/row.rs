//! The row of numbers that a body holds.

/// Features in the order of the body.
#[derive(Debug, PartialEq)]
pub(in crate::routes) struct Row {
    /// As many as the model takes, at most.
    pub(in crate::routes) numbers: Vec<f32>,
    /// How many the body has.
    pub(in crate::routes) count: usize,
}

/// Numbers that memory is taken for before they are there: a request may say that it has more than it does.
const MOST_AT_ONCE: usize = 4096;

impl Row {
    pub(super) fn of_width(width: usize) -> Row {
        Row { numbers: Vec::with_capacity(width.min(MOST_AT_ONCE)), count: 0 }
    }

    pub(super) fn push(&mut self, number: f32, width: usize) {
        self.count += 1;
        if self.numbers.len() < width {
            self.numbers.push(number);
        }
    }
}
