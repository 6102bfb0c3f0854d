//! Why bytes and tensors are not what they have to be.

use super::DataType;

/// Why bytes are not a tensor, or tensors cannot be joined or split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// No memory holds this number of elements.
    #[error("expected a shape of at most {MOST_ELEMENTS} elements, found {0:?}")]
    TooManyElements(Vec<usize>),
    /// Type and shape ask for another number of bytes.
    #[error("expected {expected} bytes, found {found}")]
    ByteCount {
        /// What type and shape ask for; more than any memory holds, perhaps.
        expected: u128,
        /// The length of the data.
        found: usize,
    },
    /// The shape asks for another number of byte strings.
    #[error("expected {expected} byte strings, found {found}")]
    StringCount {
        /// Elements of the shape.
        expected: usize,
        /// Byte strings in the data.
        found: usize,
    },
    /// The data ends within a byte string.
    #[error("expected byte strings, each after its length in four bytes, found one cut off")]
    StringCutOff,
    /// A byte string is longer than four bytes can say.
    #[error("expected byte strings of at most {LONGEST_STRING} bytes, found {0}")]
    StringTooLong(usize),
    /// A truth value is something else.
    #[error("expected a byte of 0 or 1 at {place}, found {found}")]
    NotABool {
        /// Its place in the data.
        place: usize,
        /// The byte.
        found: u8,
    },
    /// The shape asks for another number of numbers.
    #[error("expected as many numbers as shape {shape:?} has, found {found}")]
    NumberCount {
        /// The shape.
        shape: Vec<usize>,
        /// Numbers that are given.
        found: usize,
    },
    /// Another shape has another number of elements.
    #[error("expected as many elements as shape {shape:?} has, found {found}")]
    ElementCount {
        /// The other shape.
        shape: Vec<usize>,
        /// Elements of the tensor.
        found: usize,
    },
    /// The allocator refuses.
    #[error("there is no memory for {bytes} bytes of shape {shape:?}")]
    NoMemory {
        /// What the tensor takes.
        bytes: usize,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// There are no tensors to join.
    #[error("expected tensors to join, found none")]
    NothingToJoin,
    /// A scalar has no rows to join by.
    #[error("expected a first dimension, found a scalar")]
    Scalar,
    /// Tensors that are joined differ in more than their rows.
    #[error("expected {} and dimensions {dims:?} after the first, found {} of shape {shape:?}", expected.name(), found.name())]
    NotAlike {
        /// The type of the first.
        expected: DataType,
        /// The dimensions of the first, after its rows.
        dims: Vec<usize>,
        /// The type of the other.
        found: DataType,
        /// The shape of the other.
        shape: Vec<usize>,
    },
    /// The parts of a tensor have more or fewer rows than it has.
    #[error("expected {expected} rows in the first dimension, found shape {shape:?}")]
    RowCount {
        /// Rows of all parts together.
        expected: u128,
        /// The shape of the tensor.
        shape: Vec<usize>,
    },
}

/// Why inputs are not what a model takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// An input that must be given is not.
    #[error("expected input {0:?}, found none")]
    Missing(String),
    /// Inputs have different numbers of rows.
    #[error("expected {expected} rows of input {input:?} as of {first:?}, found {found}")]
    UnequalRows {
        /// The input.
        input: String,
        /// Rows of the first input.
        expected: usize,
        /// The first input.
        first: String,
        /// Rows of this one.
        found: usize,
    },
    /// An input has rows, but none.
    #[error("expected at least one row of input {0:?}, found none")]
    NoRows(String),
    /// An input is of another type.
    #[error("expected datatype {} of input {input:?}, found {}", expected.name(), found.name())]
    DataType {
        /// The input.
        input: String,
        /// What is declared.
        expected: DataType,
        /// What it is of.
        found: DataType,
    },
    /// An input has another shape.
    #[error("expected shape {expected} of input {input:?}, found {found:?}")]
    Shape {
        /// The input.
        input: String,
        /// What is declared, as the protocol writes it.
        expected: String,
        /// What it has.
        found: Vec<usize>,
    },
}

/// Elements of a tensor at most: no memory holds more, of whatever type.
pub(super) const MOST_ELEMENTS: usize = isize::MAX as usize;
/// Bytes of a byte string at most: its length has four bytes.
const LONGEST_STRING: u32 = u32::MAX;
