//! The flags of `adapter diff`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Uri;

use super::explain::{AccessFlags, output};
use super::values::duration;
use crate::config::{Autoscalers, ClusterAccess, Diff, Output, ServerAccess, UrlAccess};

/// Which two servers to compare.
#[derive(Debug, Args)]
pub(super) struct DiffFlags {
    /// Server to compare with: the kubeconfig of a cluster that it serves, or its own URL, such as that of a
    /// port-forward.
    #[arg(long, value_name = "KUBECONFIG|URL")]
    against: String,
    /// Context of the kubeconfig of --against [default: the current one].
    #[arg(long, value_name = "CONTEXT")]
    against_context: Option<String>,
    /// File with a bearer token for the URL of --against.
    #[arg(long, value_name = "FILE")]
    against_token_file: Option<PathBuf>,
    /// CA certificates to trust for the URL of --against, PEM.
    #[arg(long, value_name = "FILE")]
    against_ca_file: Option<PathBuf>,
    /// Trust any certificate of the URL of --against.
    #[arg(long)]
    against_insecure: bool,
    /// URL of this adapter [default: the cluster of --kubeconfig].
    #[arg(long, value_name = "URL", conflicts_with_all = ["kubeconfig", "context"])]
    server: Option<String>,
    /// File with a bearer token for --server.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// CA certificates to trust for --server, PEM.
    #[arg(long, value_name = "FILE", requires = "server")]
    ca_file: Option<PathBuf>,
    /// Trust any certificate of --server.
    #[arg(long, requires = "server")]
    insecure: bool,
    /// Namespace to ask about; repeatable [default: every namespace of the cluster].
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// Ask first what autoscalers ask, with their selectors: those of the cluster (all), or those of a file;
    /// repeatable.
    #[arg(long, value_name = "all|FILE")]
    hpa: Vec<PathBuf>,
    /// Maximum number of questions; a line says what was left out.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max_questions: usize,
    /// Part of the larger of two values by which they may differ: 0.01 is one percent. The servers ask Prometheus at
    /// slightly different times.
    #[arg(long, value_name = "PART", default_value_t = 0.01)]
    tolerance: f64,
    /// Time before a question whose answers differ is asked again, twice at most: longer than the scrape interval and
    /// --query-sharing.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pause: Duration,
    /// Output format: text or json.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = output)]
    format: Output,
    #[command(flatten)]
    access: AccessFlags,
}

impl DiffFlags {
    pub(super) fn validate(self) -> Result<Diff, Vec<String>> {
        let DiffFlags {
            against,
            against_context,
            against_token_file,
            against_ca_file,
            against_insecure,
            server,
            token_file,
            ca_file,
            insecure,
            namespace: namespaces,
            hpa,
            max_questions,
            tolerance,
            pause,
            format,
            access,
        } = self;
        let mut faults = Vec::new();
        if !(0.0..1.0).contains(&tolerance) {
            faults.push(format!("--tolerance: expected from 0 to less than 1, found {tolerance}"));
        }
        if max_questions == 0 {
            faults.push("--max-questions: expected 1 or more, found 0".to_owned());
        }
        let there = if is_url(&against) {
            if against_context.is_some() {
                faults.push("--against-context: expected a kubeconfig for --against, found a URL".to_owned());
            }
            url("--against", &against, &mut faults).map(|url| {
                ServerAccess::Url(Box::new(UrlAccess {
                    url,
                    token_file: against_token_file,
                    ca_file: against_ca_file,
                    insecure: against_insecure,
                }))
            })
        } else {
            for (flag, given) in [
                ("--against-token-file", against_token_file.is_some()),
                ("--against-ca-file", against_ca_file.is_some()),
                ("--against-insecure", against_insecure),
            ] {
                if given {
                    faults.push(format!("{flag}: expected a URL for --against, found a kubeconfig"));
                }
            }
            let kubeconfig = Some(PathBuf::from(against));
            Some(ServerAccess::Cluster(ClusterAccess { kubeconfig, context: against_context }))
        };
        let here = match server {
            Some(server) => url("--server", &server, &mut faults)
                .map(|url| ServerAccess::Url(Box::new(UrlAccess { url, token_file, ca_file, insecure }))),
            None => Some(ServerAccess::Cluster(access.into_access())),
        };
        let all = hpa.iter().any(|file| file.as_os_str() == "all");
        if all && hpa.len() > 1 {
            faults.push("--hpa: expected all or files, found both".to_owned());
        }
        match (here, there) {
            (Some(here), Some(there)) if faults.is_empty() => Ok(Diff {
                here,
                there,
                namespaces,
                autoscalers: match hpa {
                    hpa if hpa.is_empty() => Autoscalers::None,
                    _ if all => Autoscalers::Cluster,
                    hpa => Autoscalers::Files(hpa),
                },
                most_questions: max_questions,
                tolerance,
                pause,
                output: format,
            }),
            _ => Err(faults),
        }
    }
}

fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// A server's URL. Its user and password are not shown.
fn url(flag: &str, text: &str, faults: &mut Vec<String>) -> Option<Uri> {
    let read = text.parse::<Uri>().ok().filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
    let fault = match &read {
        None => "expected a URL like https://localhost:6443",
        Some(url) if url.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            "expected a URL without a user; give a token by a file"
        }
        Some(url) if url.path_and_query().is_some_and(|path| path.as_str() != "/") => {
            "expected a URL without a path"
        }
        Some(_) => return read,
    };
    faults.push(format!("{flag}: {fault}"));
    None
}
