//! Why a text is not a selector, in apimachinery's words: callers of the API see them.

/// Why a text is not a label selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// One of the conditions is wrong.
    #[error("unable to parse requirement: {0}")]
    Requirement(#[from] RequirementError),
    /// Something stands between or after the conditions that does not belong there.
    #[error(transparent)]
    Unexpected(#[from] UnexpectedToken),
}

/// Why a text is not a condition of a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// A word or an operator stands where another belongs.
    #[error(transparent)]
    Unexpected(#[from] UnexpectedToken),
    /// The key is not a label's name.
    #[error("<nil>: Invalid value: {key:?}: {fault}")]
    Key {
        /// The key as written.
        key: String,
        /// What is wrong with it.
        #[source]
        fault: KeyFault,
    },
    /// `in` or `notin` without a value.
    #[error("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")]
    NoValues,
    /// A value cannot be a label's, or cannot be compared.
    #[error("values[{position}][{key}]: Invalid value: {value:?}: {fault}")]
    Value {
        /// Which one, of the values in their order, from 0 on.
        position: usize,
        /// The key that it is compared with.
        key: String,
        /// The value as written.
        value: String,
        /// What is wrong with it.
        #[source]
        fault: ValueFault,
    },
}

/// A word or an operator that stands where another belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found '{found}'{expected}")]
pub struct UnexpectedToken {
    /// What stands there; empty at the end of the text.
    pub(super) found: String,
    /// What belongs there, with the words before it.
    pub(super) expected: &'static str,
}

/// What is wrong with the name of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// More than one slash.
    #[error(
        "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        NAME_FORM
    )]
    Slashes,
    /// Nothing before the slash.
    #[error("prefix part must be non-empty")]
    EmptyPrefix,
    /// Before the slash stands something else than a DNS subdomain.
    #[error("prefix part {}", SUBDOMAIN_FORM)]
    Prefix,
    /// Nothing after the slash.
    #[error("name part must be non-empty")]
    EmptyName,
    /// The name is longer than a label's may be.
    #[error("name part must be no more than {} characters", LONGEST_NAME)]
    LongName,
    /// The name holds characters that a label's may not.
    #[error("name part {}", NAME_FORM)]
    Name,
}

/// What is wrong with a value that a label is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueFault {
    /// `>` and `<` compare whole numbers.
    #[error("for 'Gt', 'Lt' operators, the value must be an integer")]
    NotAnInteger,
    /// It is longer than a label's value may be.
    #[error("must be no more than {} characters", LONGEST_NAME)]
    TooLong,
    /// It holds characters that a label's value may not.
    #[error("{}", VALUE_FORM)]
    Form,
}

/// Characters of a label's name without its prefix, and of its value, at most.
pub(super) const LONGEST_NAME: usize = 63;
const NAME_FORM: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_FORM: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
    for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN_FORM: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
