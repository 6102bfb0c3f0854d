//! What the end-to-end tests and the demo share: processes that are always ended, the API as a kubeconfig opens it, load,
//! and the autoscaler's formula.

pub mod hpa;
pub mod kube;
pub mod load;
pub mod process;
pub mod stack;

/// Says what went wrong, with as much as is needed to see why.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
