//! Why the server could not start, or ended.

use std::io;
use std::net::SocketAddr;

use crate::admin::AdminError;
use crate::memory::{MemoryBudget, Size};
use crate::model::ModelError;
use crate::repository::RepositoryError;
use crate::worker::{PoolError, WarmupError, WarmupInputError};

/// Why the server could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address could not be listened on.
    #[error("cannot serve on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        #[source]
        cause: io::Error,
    },
    /// Metrics and probes could not get a listener of their own.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// There is no file of the model.
    #[error(transparent)]
    Find(#[from] RepositoryError),
    /// The files of the model alone are more than memory may hold.
    #[error("expected a model of at most {limit}, found {found} in {model} and the files of its weights")]
    TooLarge {
        /// What the process may take.
        limit: MemoryBudget,
        /// What the files have.
        found: Size,
        /// The file, or the built-in model.
        model: String,
    },
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] ModelError),
    /// Several workers would share a GPU.
    #[error(
        "expected --workers=1 on {device}, found {workers}: they would share its stream, each with the weights"
    )]
    SeveralWorkers {
        /// The GPU.
        device: String,
        /// How many.
        workers: usize,
    },
    /// What the model is to be warmed with cannot be used.
    #[error(transparent)]
    WarmupInput(#[from] WarmupInputError),
    /// The model does not compute what it is warmed with.
    #[error(transparent)]
    Warmup(#[from] WarmupError),
    /// The workers cannot start.
    #[error(transparent)]
    Workers(#[from] PoolError),
    /// The task that loads the model panicked.
    #[error("loading failed")]
    Loading(#[source] tokio::task::JoinError),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
    /// A part of the server cannot be started.
    #[error("cannot start {part}")]
    Start {
        /// The part.
        part: &'static str,
        /// The operating system's reason.
        #[source]
        cause: io::Error,
    },
    /// A part of the server ended before the server did.
    #[error("{0} ended early")]
    EndedEarly(&'static str),
}

impl AppError {
    /// Whether it is the model that cannot be used, or not as it is configured.
    pub fn is_of_the_model(&self) -> bool {
        match self {
            AppError::Find(_)
            | AppError::TooLarge { .. }
            | AppError::Load(_)
            | AppError::SeveralWorkers { .. }
            | AppError::WarmupInput(_)
            | AppError::Warmup(_)
            | AppError::Workers(_)
            | AppError::Loading(_) => true,
            AppError::Listen { .. }
            | AppError::Admin(_)
            | AppError::Signals(_)
            | AppError::Start { .. }
            | AppError::EndedEarly(_) => false,
        }
    }
}
