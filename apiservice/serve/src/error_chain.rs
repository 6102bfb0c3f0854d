//! An error as operators read it: with its causes.

use std::error::Error;

/// The message of an error and those of its sources, `what failed: why: why`. A source that the message before it ends
/// with already is not repeated: some libraries' errors print their source themselves.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(source) = next {
        let message = source.to_string();
        if !last.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        last = message;
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Because(&'static str, Option<Box<Because>>);

    impl fmt::Display for Because {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Because {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|source| source as &(dyn Error + 'static))
        }
    }

    fn chain(messages: &[&'static str]) -> String {
        let error =
            messages.iter().rev().fold(None, |source, message| Some(Box::new(Because(message, source))));
        error_chain(&*error.expect("a message"))
    }

    #[test]
    fn sources_follow_their_error_and_are_not_repeated() {
        assert_eq!(chain(&["cannot read a"]), "cannot read a");
        assert_eq!(chain(&["cannot read a", "denied", "by policy"]), "cannot read a: denied: by policy");
        assert_eq!(
            chain(&["cannot read a: denied", "denied", "by policy"]),
            "cannot read a: denied: by policy"
        );
        assert_eq!(chain(&["outer", "outer", "inner"]), "outer: inner");
    }
}
