//! What can be installed for several tests: it stays until one needs an empty node.

/// What is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// The Prometheus Operator, a Prometheus by the names of kube-prometheus-stack, and `deploy/overlays/tutorial-cpu`
    /// as it is shipped.
    TutorialCpu,
}
