//! The flags by which every command reaches a Prometheus: credentials and certificates.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use http::{HeaderName, HeaderValue};
use reqwest::Url;

use super::values::header;
use crate::source::prometheus::{KubernetesAuth, PrometheusSettings, Proxies};

/// How to reach a Prometheus, besides its URL.
#[derive(Debug, Args)]
pub(super) struct PrometheusAccessFlags {
    /// Header for every request to Prometheus; repeatable. Of several credentials one is sent: the first of an
    /// Authorization given here, the user and password in --prometheus-url, --prometheus-token-file,
    /// --prometheus-auth-config or --prometheus-auth-incluster.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header, help_heading = "Prometheus")]
    prometheus_header: Vec<(HeaderName, HeaderValue)>,
    /// Kubeconfig whose current context gives access to Prometheus: CA, tls-server-name and proxy-url of its cluster,
    /// token, tokenFile, client certificate or password of its user. Its server is not used: see --prometheus-url. Exec
    /// commands are not run. Reloaded when it or a file that it names changes. Without effect beside
    /// --prometheus-ca-file.
    #[arg(long, value_name = "FILE", help_heading = "Prometheus")]
    prometheus_auth_config: Option<PathBuf>,
    /// Use the token and the CA of the pod's service account for Prometheus. Reloaded when they change. Without effect
    /// beside --prometheus-ca-file.
    #[arg(long, help_heading = "Prometheus", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
    prometheus_auth_incluster: bool,
    /// File with a bearer token for Prometheus. Reloaded when it changes.
    #[arg(long, value_name = "FILE", help_heading = "Prometheus")]
    prometheus_token_file: Option<PathBuf>,
    /// CA certificates to trust for Prometheus, or Prometheus' own certificate, PEM. Reloaded when they change.
    #[arg(long, value_name = "FILE", help_heading = "Prometheus")]
    prometheus_ca_file: Option<PathBuf>,
    /// Client certificate for Prometheus, PEM. Reloaded when it changes.
    #[arg(long, value_name = "FILE", help_heading = "Prometheus")]
    prometheus_client_tls_cert_file: Option<PathBuf>,
    /// Key of the client certificate for Prometheus, PEM.
    #[arg(long, value_name = "FILE", help_heading = "Prometheus")]
    prometheus_client_tls_key_file: Option<PathBuf>,
}

/// Validated access to a Prometheus.
#[derive(Debug)]
pub(super) struct PrometheusAccess {
    headers: Vec<(HeaderName, HeaderValue)>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    client_pair: Option<(PathBuf, PathBuf)>,
    auth: Option<KubernetesAuth>,
}

impl PrometheusAccessFlags {
    /// The access, and what is wrong with it or has no effect.
    pub(super) fn validate(self, faults: &mut Vec<String>, notices: &mut Vec<String>) -> PrometheusAccess {
        let client_pair = match (self.prometheus_client_tls_cert_file, self.prometheus_client_tls_key_file) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                faults.push(
                    "expected --prometheus-client-tls-cert-file and --prometheus-client-tls-key-file together, found one"
                        .to_owned(),
                );
                None
            }
        };
        let auth = match (self.prometheus_auth_config, self.prometheus_auth_incluster) {
            (None, false) => None,
            (config, _) if self.prometheus_ca_file.is_some() => {
                let flag =
                    if config.is_some() { "--prometheus-auth-config" } else { "--prometheus-auth-incluster" };
                notices.push(format!(
                    "{flag} has no effect beside --prometheus-ca-file, as in prometheus-adapter: name a token by \
                     --prometheus-token-file, or the authority in the kubeconfig"
                ));
                None
            }
            (Some(path), false) => Some(KubernetesAuth::Kubeconfig(path)),
            (None, true) => Some(KubernetesAuth::ServiceAccount(PathBuf::from(SERVICE_ACCOUNT))),
            (Some(_), true) => {
                faults.push(
                    "expected --prometheus-auth-config or --prometheus-auth-incluster, found both".to_owned(),
                );
                None
            }
        };
        PrometheusAccess {
            headers: self.prometheus_header,
            token_file: self.prometheus_token_file,
            ca_file: self.prometheus_ca_file,
            client_pair,
            auth,
        }
    }

    /// The first of these flags that is given; without a URL it has no effect.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        let PrometheusAccessFlags {
            prometheus_header,
            prometheus_auth_config,
            prometheus_auth_incluster,
            prometheus_token_file,
            prometheus_ca_file,
            prometheus_client_tls_cert_file,
            prometheus_client_tls_key_file,
        } = self;
        [
            ("--prometheus-header", !prometheus_header.is_empty()),
            ("--prometheus-auth-config", prometheus_auth_config.is_some()),
            ("--prometheus-auth-incluster", *prometheus_auth_incluster),
            ("--prometheus-token-file", prometheus_token_file.is_some()),
            ("--prometheus-ca-file", prometheus_ca_file.is_some()),
            ("--prometheus-client-tls-cert-file", prometheus_client_tls_cert_file.is_some()),
            ("--prometheus-client-tls-key-file", prometheus_client_tls_key_file.is_some()),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
}

impl PrometheusAccess {
    /// Settings of a Prometheus that is reached so, through the proxies of the environment.
    pub(super) fn settings(self, url: Url) -> PrometheusSettings {
        let PrometheusAccess { headers, token_file, ca_file, client_pair, auth } = self;
        PrometheusSettings {
            headers,
            token_file,
            ca_file,
            client_pair,
            auth,
            proxies: Proxies::from_environment(),
            ..PrometheusSettings::new(url)
        }
    }
}

/// Where Kubernetes mounts the account of a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
