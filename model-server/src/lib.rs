//! Serves a model over HTTP and exports metrics that an autoscaler can trust.
//!
//! [`routes`] admits a request to the [`queue`], a [`worker`] thread that owns a [`model`] computes it, and [`telemetry`]
//! counts it from admission to its end, however it ends.

pub mod app;
pub mod args;
pub mod model;
pub mod queue;
pub mod routes;
pub mod telemetry;
pub mod worker;
