//! What commands wait on a network by.

/// The outcome of a task, run on this thread.
///
/// # Errors
/// The system gives no runtime.
pub(super) fn block_on<T>(task: impl Future<Output = T>) -> Result<T, RuntimeError> {
    // The one crypto provider of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RuntimeError)?;
    Ok(runtime.block_on(task))
}

/// The system gives no runtime.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the async runtime")]
pub(super) struct RuntimeError(#[source] std::io::Error);
