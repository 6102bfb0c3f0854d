//! Errors of queries.

/// Why a query has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// It is not PromQL.
    #[error("cannot parse {query:?}: {message}")]
    Parse {
        /// The query.
        query: String,
        /// The parser's reason, with the place.
        message: String,
    },
    /// It uses something that this engine lacks.
    #[error("{0} is not supported by the embedded engine; ask a Prometheus instead")]
    Unsupported(String),
    /// It cannot be evaluated over the samples there are.
    #[error("{0}")]
    Execution(String),
    /// It looks at more samples than allowed.
    #[error("the query looks at more than {0} samples, which is the limit")]
    TooManySamples(usize),
    /// It was stopped.
    #[error("the query did not end in time")]
    Interrupted,
}
