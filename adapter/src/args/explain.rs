//! The flags of `adapter explain`.

use std::path::PathBuf;

use clap::Args;

use crate::config::{AskedMetric, ClusterAccess, Explain, ExplainWhat, Output};

/// What to have explained.
#[derive(Debug, Args)]
pub(super) struct ExplainFlags {
    /// Metric, as the API names it. With --hpa, only this one of its metrics.
    #[arg(required_unless_present = "hpa")]
    metric: Option<String>,
    /// Namespace [default: that of the kubeconfig's context].
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Autoscaler whose metrics are explained, with its conditions and the ratio of value and target.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["resource", "name", "external", "selector", "metric_selector"])]
    hpa: Option<String>,
    /// Resource of a custom metric: pods, deployments.apps, namespaces.
    #[arg(long, value_name = "RESOURCE", default_value = "pods", conflicts_with = "external")]
    resource: String,
    /// Object of the resource; * means all that --selector matches.
    #[arg(long, value_name = "NAME", default_value = "*", conflicts_with = "external")]
    name: String,
    /// Explain an external metric.
    #[arg(long)]
    external: bool,
    /// Label selector of the objects, or of the series of an external metric.
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    selector: Option<String>,
    /// Label selector of the series of a custom metric.
    #[arg(long, value_name = "SELECTOR", conflicts_with = "external")]
    metric_selector: Option<String>,
    /// Output format: text or json.
    #[arg(long, short, value_name = "FORMAT", default_value = "text", value_parser = output)]
    output: Output,
    #[command(flatten)]
    access: AccessFlags,
}

/// How a command reaches a cluster.
#[derive(Debug, Args)]
pub(super) struct AccessFlags {
    /// Kubeconfig [default: the one that kubectl would use].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: the current one].
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
}

impl ExplainFlags {
    pub(super) fn into_explain(self) -> Explain {
        let ExplainFlags {
            metric,
            namespace,
            hpa,
            resource,
            name,
            external,
            selector,
            metric_selector,
            output,
            access,
        } = self;
        let what = match hpa {
            Some(name) => ExplainWhat::Hpa { name, metric },
            None => ExplainWhat::Metric(AskedMetric {
                // Clap asks for it where there is no --hpa.
                name: metric.unwrap_or_default(),
                objects: (!external).then_some((resource, name)),
                selector,
                metric_selector,
            }),
        };
        Explain { access: access.into_access(), namespace, what, output }
    }
}

impl AccessFlags {
    pub(super) fn into_access(self) -> ClusterAccess {
        ClusterAccess { kubeconfig: self.kubeconfig, context: self.context }
    }
}

/// The form of what a command prints.
pub(super) fn output(text: &str) -> Result<Output, String> {
    match text {
        "text" => Ok(Output::Text),
        "json" => Ok(Output::Json),
        _ => Err("expected text or json".to_owned()),
    }
}
