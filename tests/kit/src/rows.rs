//! Tables of cases: every row is checked, and every row that fails is reported.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;

/// Checks each row.
///
/// # Panics
/// Where a check panics, after all rows were checked, with the row and the message of each failure.
#[track_caller]
pub fn each_row<R: Debug>(rows: impl IntoIterator<Item = R>, mut check: impl FnMut(R)) {
    let mut report = Report::default();
    for row in rows {
        let shown = format!("{row:?}");
        report.add(&shown, catch_unwind(AssertUnwindSafe(|| check(row))));
    }
    report.judge();
}

/// As [`each_row`], for checks that wait: one row after the other.
///
/// # Panics
/// As [`each_row`].
pub async fn each_row_async<R: Debug>(rows: impl IntoIterator<Item = R>, mut check: impl AsyncFnMut(R)) {
    let mut report = Report::default();
    for row in rows {
        let shown = format!("{row:?}");
        report.add(&shown, AssertUnwindSafe(check(row)).catch_unwind().await);
    }
    report.judge();
}

#[derive(Default)]
struct Report {
    checked: usize,
    faults: Vec<String>,
}

impl Report {
    fn add(&mut self, row: &str, outcome: Result<(), Box<dyn Any + Send>>) {
        let number = self.checked;
        self.checked += 1;
        if let Err(panic) = outcome {
            // Rows may hold bodies; the message says what matters.
            self.faults.push(format!("row {number}, {row:.200}: {}", message(&*panic)));
        }
    }

    #[track_caller]
    fn judge(self) {
        assert!(self.checked > 0, "the table has no rows");
        let Report { checked, faults } = self;
        assert!(faults.is_empty(), "{} of {checked} rows failed\n{}", faults.len(), faults.join("\n"));
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(check: impl FnOnce()) -> String {
        message(&*catch_unwind(AssertUnwindSafe(check)).expect_err("a failure")).to_owned()
    }

    #[test]
    fn every_row_that_fails_is_reported() {
        let mut checked = Vec::new();
        let text = failure(|| {
            each_row([1, 2, 3, 4], |number| {
                checked.push(number);
                assert!(number % 2 == 1, "{number} is even");
            });
        });
        assert_eq!(checked, [1, 2, 3, 4]);
        assert_eq!(text, "2 of 4 rows failed\nrow 1, 2: 2 is even\nrow 3, 4: 4 is even");
    }

    #[tokio::test]
    async fn every_row_that_fails_is_reported_where_checks_wait() {
        let checking = each_row_async([("a", 1), ("b", 2)], async |(name, number)| {
            tokio::task::yield_now().await;
            assert_eq!(number, 3, "{name}");
        });
        let panic = AssertUnwindSafe(checking).catch_unwind().await.expect_err("a failure");
        let text = message(&*panic);
        assert!(text.starts_with("2 of 2 rows failed\nrow 0, (\"a\", 1): assertion"), "{text}");
        assert!(text.contains("\nrow 1, (\"b\", 2): assertion"), "{text}");
    }

    #[test]
    fn a_table_without_rows_fails() {
        assert_eq!(failure(|| each_row([0; 0], |_| {})), "the table has no rows");
    }
}
