//! Requests to the adapter in process, over a source that is recorded.

mod answers;
mod authorized;
mod conformance;
mod explained;
mod explanations;
mod harness;
mod outage;
mod policies;
mod presets;
mod shared;
mod status;
