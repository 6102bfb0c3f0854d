//! What commands wait on a network by.

/// The outcome of a task, run on this thread.
///
/// # Errors
/// The system gives no runtime: what to print.
pub(super) fn block_on<T>(task: impl Future<Output = T>) -> Result<T, String> {
    // The one crypto provider of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Ok(runtime.block_on(task)),
        Err(error) => Err(format!("cannot start the async runtime: {error}")),
    }
}
