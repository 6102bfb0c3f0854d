//! Panics that are expected to happen and kept to the code that they happen in: a model's must not end a worker, and
//! needs no line of the log for itself.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

/// Runs something; what it panicked with, if it did.
///
/// # Errors
/// The panic's text, and its place if [`noted`] is called by the panic hook.
pub fn contained<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    let outer = NOTE.replace(Note::Expected);
    let result = catch_unwind(AssertUnwindSafe(run));
    let note = NOTE.replace(outer);
    result.map_err(|panic| match note {
        Note::Panicked(text) => text,
        Note::Unexpected | Note::Expected => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            text.unwrap_or(NO_MESSAGE).to_owned()
        }
    })
}

/// For the panic hook: whether somebody expects this panic, and will say what came of it.
pub fn noted(panic: &PanicHookInfo<'_>) -> bool {
    NOTE.with_borrow_mut(|note| {
        let expected = !matches!(note, Note::Unexpected);
        if expected {
            let text = panic.payload_as_str().unwrap_or(NO_MESSAGE);
            *note = Note::Panicked(match panic.location() {
                Some(place) => format!("{text}, at {place}"),
                None => text.to_owned(),
            });
        }
        expected
    })
}

enum Note {
    /// A panic would be a fault of the program.
    Unexpected,
    Expected,
    Panicked(String),
}

thread_local! {
    static NOTE: RefCell<Note> = const { RefCell::new(Note::Unexpected) };
}

const NO_MESSAGE: &str = "no message";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_and_what_follows_runs() {
        assert_eq!(contained(|| 1), Ok(1));
        let number = 7;
        let text = contained(|| panic!("{number} of them")).expect_err("it panics");
        assert!(text.starts_with("7 of them"), "{text}");
        assert_eq!(contained(|| 2), Ok(2));
    }
}
