//! What the tests of several crates share. Crates of the product depend on it as a dev-dependency; of those crates it
//! knows only `serve`, so that none waits for another one's tests.

pub mod corpus;
pub mod exposition;
pub mod kubeconfig;
pub mod onnx;
pub mod process;
pub mod protobuf;
pub mod router;
pub mod rows;
pub mod scripted;
pub mod served;
pub mod wait;
pub mod wire;

/// Why a test cannot go on, with as much as is needed to see why.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
