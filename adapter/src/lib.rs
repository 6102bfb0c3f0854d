//! Serves the Kubernetes custom metrics API from Prometheus, or from samples it scraped itself, by
//! prometheus-adapter's rule files.
//!
//! One request is a straight line: [`routes`] turns a path into a question, [`answer`] looks the rule up, asks
//! [`objects`] for names, builds the PromQL, asks a [`source`] and joins the samples with [`values`].

mod allocator;
pub mod answer;
pub mod app;
pub mod args;
pub mod audit;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod discovery_documents;
pub mod explanation;
pub mod history;
pub mod host;
pub mod kubeconfig;
pub mod last_values;
mod log_throttle;
pub mod logging;
pub mod objects;
pub mod relist;
pub mod routes;
pub mod rule_report;
pub mod rules_file;
pub mod sharing;
pub mod source;
pub mod standalone;
pub mod status;
pub mod status_page;
pub mod tasks;
pub mod telemetry;
pub mod values;
