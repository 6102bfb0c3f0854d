//! Serves a model over HTTP and exports metrics that an autoscaler can trust.
//!
//! [`routes`] admits a request to the [`queue`], a [`worker`] thread that owns a [`model`] computes it, and
//! [`telemetry`] counts it from admission to its end, however it ends. [`gpu`] says how busy the GPUs are, or that it
//! cannot be read.

pub mod admin;
pub mod app;
pub mod args;
pub mod bodies;
pub mod config;
pub mod contain;
pub mod exit;
pub mod gpu;
pub mod lines;
pub mod memory;
pub mod model;
pub mod queue;
pub mod readiness;
pub mod repository;
pub mod routes;
pub mod serve;
pub mod telemetry;
pub mod tensor;
pub mod throttle;
pub mod worker;
