//! The flags of serving in a cluster.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use apiservice::review::ReviewLimits;
use apiservice::tls::CertificateSource;
use clap::Args;
use http::HeaderName;

use super::given::Given;
use super::values::duration;
use crate::cluster::identity::{Identity, service_names};
use crate::cluster::{
    AuthenticationConfig, AuthorizationConfig, ClusterConfig, FrontProxyConfig, ServingConfig,
};

/// Flags that mean something only where there is a Kubernetes API.
#[derive(Debug, Args)]
pub(super) struct ClusterFlags {
    /// Kubeconfig for listing objects and API resources [default: the pod's service account].
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    lister_kubeconfig: Option<PathBuf>,
    /// Interval between two listings of the cluster's API resources; also listed soon after an unknown one is
    /// requested.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, help_heading = "Cluster")]
    discovery_interval: Duration,

    /// Kubeconfig for TokenReviews and the cluster's authentication settings [default: the pod's service account].
    #[arg(long, value_name = "FILE", help_heading = "Authentication")]
    authentication_kubeconfig: Option<PathBuf>,
    /// Do not read the cluster's authentication settings; use those of the flags only.
    #[arg(long, help_heading = "Authentication", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set)]
    authentication_skip_lookup: bool,
    /// Serve even if the cluster's authentication settings cannot be read.
    #[arg(long, help_heading = "Authentication", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set)]
    authentication_tolerate_lookup_failure: bool,
    /// Time for which the result of a TokenReview is cached.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = "Authentication")]
    authentication_token_webhook_cache_ttl: Duration,
    /// CA certificates for client certificates, PEM, instead of the cluster's. Reloaded when they change.
    #[arg(long, value_name = "FILE", help_heading = "Authentication")]
    client_ca_file: Option<PathBuf>,
    /// CA certificates for front proxies, PEM, instead of the cluster's settings. Reloaded when they change.
    #[arg(long, value_name = "FILE", help_heading = "Authentication")]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Allowed common names of front proxies; none means any.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Authentication")]
    requestheader_allowed_names: Vec<String>,
    /// Request headers in which a front proxy gives the user name.
    #[arg(
        long,
        value_name = "HEADERS",
        value_delimiter = ',',
        default_value = "x-remote-user",
        help_heading = "Authentication"
    )]
    requestheader_username_headers: Vec<String>,
    /// Request headers in which a front proxy gives the groups.
    #[arg(
        long,
        value_name = "HEADERS",
        value_delimiter = ',',
        default_value = "x-remote-group",
        help_heading = "Authentication"
    )]
    requestheader_group_headers: Vec<String>,
    /// Request headers in which a front proxy gives the user's UID.
    #[arg(long, value_name = "HEADERS", value_delimiter = ',', help_heading = "Authentication")]
    requestheader_uid_headers: Vec<String>,
    /// Prefixes of request headers in which a front proxy gives extra attributes.
    #[arg(
        long,
        value_name = "PREFIXES",
        value_delimiter = ',',
        default_value = "x-remote-extra-",
        help_heading = "Authentication"
    )]
    requestheader_extra_headers_prefix: Vec<String>,

    /// Kubeconfig for SubjectAccessReviews [default: the pod's service account].
    #[arg(long, value_name = "FILE", help_heading = "Authorization")]
    authorization_kubeconfig: Option<PathBuf>,
    /// Time for which an authorization is cached: so long does access that is taken away still work. An autoscaler asks
    /// every 15s, so that with 10s each of its requests is reviewed, and with 60s one in four.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = "Authorization")]
    authorization_webhook_cache_authorized_ttl: Duration,
    /// Time for which a denial is cached.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = "Authorization")]
    authorization_webhook_cache_unauthorized_ttl: Duration,
    /// Ask first whether a caller may use all resources of the API group in all namespaces. A yes answers all its
    /// requests for the group with the same verb: an autoscaler with the role of Kubernetes' own costs one review
    /// instead of one for each metric and namespace. A no is followed by the review of the request. Set it only where
    /// every authorizer of the cluster allows each part of what it allows as a whole: RBAC does, a webhook that refuses
    /// some namespaces does not. Until the authorization expires, access that is taken away still works for the whole
    /// group.
    #[arg(long, help_heading = "Authorization", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set)]
    authorization_review_groups: bool,

    /// Maximum number of SubjectAccessReviews per second, and of TokenReviews, for each of three classes of callers:
    /// verified by certificate or front proxy, verified by token, all others. More wait up to 500 ms, then get 429; 0
    /// means no limit.
    #[arg(long, value_name = "COUNT", default_value_t = ReviewLimits::default().per_second, help_heading = "Authorization")]
    review_qps: u32,
    /// Maximum burst of reviews of a kind, for each class of callers.
    #[arg(long, value_name = "COUNT", default_value_t = ReviewLimits::default().burst, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Authorization")]
    review_burst: u32,

    /// Serving certificate, PEM, followed by its chain. Reloaded when it changes.
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    tls_cert_file: Option<PathBuf>,
    /// Key of the serving certificate, PEM.
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    tls_private_key_file: Option<PathBuf>,
    /// Folder of a self-signed serving certificate, made when there is none; without effect with --tls-cert-file.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "apiserver.local.config/certificates",
        help_heading = "Serving"
    )]
    cert_dir: PathBuf,
    /// Service that the APIServices name: a generated serving certificate is valid for its names.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service, help_heading = "Serving")]
    serving_service: Option<Service>,
    /// Secret, in the Service's namespace, for a generated CA: serve with a certificate that it signs, and publish it
    /// as caBundle of the APIServices. Instead of certificate files.
    #[arg(long, value_name = "NAME", requires = "serving_service", conflicts_with_all = ["tls_cert_file", "tls_private_key_file"], help_heading = "Serving")]
    serving_ca_secret: Option<String>,
}

#[derive(Debug, Clone)]
struct Service {
    namespace: String,
    name: String,
}

impl ClusterFlags {
    /// Notices for those of these flags that were given, where there is no Kubernetes API.
    pub(super) fn without_effect(given: &Given, notices: &mut Vec<String>) {
        let flags = ClusterFlags::augment_args(clap::Command::new("cluster"));
        let given = flags.get_arguments().filter(|flag| given.has(flag.get_id()));
        notices.extend(
            given
                .filter_map(clap::Arg::get_long)
                .map(|name| format!("--{name} has no effect: --standalone serves without a Kubernetes API")),
        );
    }

    pub(super) fn validate(self, address: IpAddr, faults: &mut Vec<String>) -> ClusterConfig {
        let serving = self.serving(address, faults);
        let mut headers = |flag, names| headers(flag, names, faults);
        let username_headers = headers("requestheader-username-headers", self.requestheader_username_headers);
        let group_headers = headers("requestheader-group-headers", self.requestheader_group_headers);
        let uid_headers = headers("requestheader-uid-headers", self.requestheader_uid_headers);
        let front_proxy = self.requestheader_client_ca_file.map(|ca_file| FrontProxyConfig {
            ca_file,
            allowed_names: entries(self.requestheader_allowed_names),
            username_headers,
            group_headers,
            uid_headers,
            extra_prefixes: lower(&entries(self.requestheader_extra_headers_prefix)),
        });
        if self.discovery_interval.is_zero() {
            faults.push("--discovery-interval: expected more than 0s, found 0s".to_owned());
        }
        ClusterConfig {
            lister_kubeconfig: self.lister_kubeconfig,
            discovery_interval: self.discovery_interval,
            authentication: AuthenticationConfig {
                kubeconfig: self.authentication_kubeconfig,
                skip_lookup: self.authentication_skip_lookup,
                tolerate_lookup_failure: self.authentication_tolerate_lookup_failure,
                client_ca_file: self.client_ca_file,
                front_proxy,
                token_ttl: self.authentication_token_webhook_cache_ttl,
            },
            authorization: AuthorizationConfig {
                kubeconfig: self.authorization_kubeconfig,
                allowed_ttl: self.authorization_webhook_cache_authorized_ttl,
                denied_ttl: self.authorization_webhook_cache_unauthorized_ttl,
                asks_for_groups: self.authorization_review_groups,
            },
            reviews: ReviewLimits { per_second: self.review_qps, burst: self.review_burst },
            serving,
        }
    }

    fn serving(&self, address: IpAddr, faults: &mut Vec<String>) -> ServingConfig {
        if let (Some(service), Some(secret)) = (&self.serving_service, &self.serving_ca_secret) {
            return ServingConfig::Published(Identity {
                namespace: service.namespace.clone(),
                service: service.name.clone(),
                secret: secret.clone(),
            });
        }
        ServingConfig::Files(match (&self.tls_cert_file, &self.tls_private_key_file) {
            (Some(certificate), Some(key)) => {
                CertificateSource::Files { certificate: certificate.clone(), key: key.clone() }
            }
            (certificate, key) => {
                if certificate.is_some() || key.is_some() {
                    faults.push(
                        "expected --tls-cert-file and --tls-private-key-file together, found one".to_owned(),
                    );
                }
                CertificateSource::Generated {
                    dir: self.cert_dir.clone(),
                    names: self
                        .serving_service
                        .as_ref()
                        .map_or_else(Vec::new, |service| service_names(&service.namespace, &service.name)),
                    addresses: if address.is_unspecified() { Vec::new() } else { vec![address] },
                }
            }
        })
    }
}

/// The entries of a list; a list that was given as empty has an empty one.
pub(super) fn entries(list: Vec<String>) -> Vec<String> {
    list.into_iter().filter(|entry| !entry.is_empty()).collect()
}

fn headers(flag: &str, names: Vec<String>, faults: &mut Vec<String>) -> Vec<HeaderName> {
    let mut headers = Vec::new();
    for name in entries(names) {
        match HeaderName::try_from(&name) {
            Ok(header) => headers.push(header),
            Err(_) => faults.push(format!("--{flag}: expected names of headers, found {name:?}")),
        }
    }
    headers
}

fn lower(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| text.to_lowercase()).collect()
}

fn service(text: &str) -> Result<Service, String> {
    let (namespace, name) = text.split_once('/').ok_or("expected NAMESPACE/NAME")?;
    let is_name = |text: &str| selector::names::is_dns_label(text);
    if !is_name(namespace) || !is_name(name) {
        return Err("expected NAMESPACE/NAME, each a Kubernetes name".to_owned());
    }
    Ok(Service { namespace: namespace.to_owned(), name: name.to_owned() })
}
