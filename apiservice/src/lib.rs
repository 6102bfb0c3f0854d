//! What it takes to be an aggregated Kubernetes API server, for the metrics APIs. Knows no Prometheus and no rules.
//!
//! [`accept`] takes connections, [`server`] passes each request through [`authn`] and [`authz`] and answers what every
//! API server answers ([`discovery`], [`health`], errors as [`status`]); the rest goes to a [`server::Handler`].
//! Answers are [`types`]; which form one takes is decided in [`negotiate`], and made in [`encode`]. What differs from
//! upstream on purpose is listed in `docs/contract.md#differences`.

pub mod accept;
pub mod attributes;
pub mod audit;
pub mod authn;
pub mod authority;
pub mod authz;
pub mod discovery;
mod document;
pub mod encode;
pub mod go_duration;
mod groups;
pub mod health;
pub mod list_options;
mod media_type;
pub mod negotiate;
pub mod openapi;
pub mod quantity;
pub mod query;
mod respond;
pub mod review;
pub mod server;
pub mod status;
pub mod tls;
pub mod types;

pub use serve::lifecycle;
