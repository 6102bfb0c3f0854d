//! Tests that share one node, one after the other.

use std::sync::{LazyLock, Mutex, PoisonError};

use tokio::runtime::Runtime;

use super::Node;
use crate::Failure;

/// Runs a test on the node that all tests of a program share; the first one starts it.
///
/// The node is not dropped: `scripts/sandbox` ends it with the program.
///
/// # Errors
/// The node did not start, or what the test says.
pub fn on_node(test: impl AsyncFnOnce(&mut Node) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut shared = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    RUNTIME.block_on(async {
        let started = match shared.take() {
            Some(started) => started,
            None => Node::start().await.map_err(|error| error.to_string()),
        };
        let node = match shared.insert(started) {
            Ok(node) => node,
            Err(error) => return Err(error.clone().into()),
        };
        let done = test(node).await;
        if done.is_err() {
            eprintln!("{}", node.state());
            node.distrust_installed();
        }
        done
    })
}

/// One runtime for all tests: the client of the node's API lives as long as it does.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Runtime::new().expect("a runtime needs threads and an event queue, without which no test can run")
});
/// A node, or why there is none: it is not tried again.
static NODE: Mutex<Option<Result<Node, String>>> = Mutex::new(None);
