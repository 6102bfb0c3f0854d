//! Tasks that run as long as the program does. One that ends early ends the program, with its name in the message.

use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Background tasks, each with a name.
#[derive(Default)]
pub struct Tasks(JoinSet<&'static str>);

impl Tasks {
    /// Starts a task that is not supposed to end.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// Starts a task that computes for long, on a thread of its own: it holds up no connection.
    pub fn spawn_apart(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let runtime = Handle::current();
        self.0.spawn_blocking(move || {
            runtime.block_on(task);
            name
        });
    }

    /// Waits until a task ends; answers with its name. A panic is logged.
    pub async fn first_to_end(&mut self) -> &'static str {
        match self.0.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(error)) => {
                tracing::error!(%error, "background task panicked");
                "background task"
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("stays", std::future::pending());
        tasks.spawn("goes", async {});
        assert_eq!(tasks.first_to_end().await, "goes");
        tasks.spawn_apart("goes on its own thread", tokio::task::yield_now());
        assert_eq!(tasks.first_to_end().await, "goes on its own thread");
    }
}
