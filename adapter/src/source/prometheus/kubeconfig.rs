//! The kubeconfig of `--prometheus-auth-config`: of its current context the cluster says which certificates are
//! believed, and the user who is asking. Its server is not looked at: `--prometheus-url` says where Prometheus is.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};

use super::access::{Access, Credential, Material, Trust};
use super::proxy::{Proxy, ProxyError};
use crate::kubeconfig::{self, KubeconfigError};

/// Why a kubeconfig gives no access. No message holds a credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum KubeconfigAccessError {
    /// It cannot be read, or is not a kubeconfig.
    #[error("cannot read {place}")]
    Read {
        /// The flag and the file.
        place: String,
        #[source]
        cause: KubeconfigError,
    },
    /// What it says cannot be used.
    #[error("cannot use {place}")]
    Use {
        /// The flag and the file.
        place: String,
        #[source]
        fault: Fault,
    },
}

/// What is wrong with the context in use, its cluster or its user.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("expected a current-context, found none")]
    NoCurrentContext,
    #[error("expected the {kind} {name:?} of {of}, found {}", list(found))]
    NotThere {
        /// Context, cluster or user.
        kind: &'static str,
        name: String,
        /// What names it.
        of: String,
        /// The names of those that there are.
        found: Vec<String>,
    },
    #[error("expected a cluster in the context {0:?}, found nothing")]
    EmptyContext(String),
    #[error("expected certificate-authority or insecure-skip-tls-verify, found both")]
    AuthorityAndInsecure,
    #[error(
        "expected a token, tokenFile, client certificate or password, found exec ({command}): commands are not run here; \
         let one write the token to a file and name it as tokenFile, which is read again when it changes"
    )]
    Exec { command: String },
    #[error(
        "expected a token, tokenFile, client certificate or password, found auth-provider ({name}), which Kubernetes has \
         removed"
    )]
    AuthProvider { name: String },
    #[error("expected a token or a password, found both")]
    TokenAndPassword,
    #[error("expected client-certificate and client-key together, found one")]
    HalfAnIdentity,
    #[error("expected as beside as-uid, as-groups and as-user-extra, found none")]
    NoImpersonatedUser,
    #[error("expected text that a header can hold for {0}")]
    NotAHeader(String),
    #[error("expected Base64 in {field}-data")]
    NotBase64 {
        field: &'static str,
        #[source]
        cause: base64::DecodeError,
    },
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The text of the kubeconfig in a file.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn read(path: &Path) -> Result<String, KubeconfigAccessError> {
    kubeconfig::read_text(path).map_err(|cause| KubeconfigAccessError::Read { place: place(path), cause })
}

/// The access that the text of a kubeconfig gives.
///
/// # Errors
/// A text that is not a kubeconfig, or asks for something that cannot be done here.
pub(super) fn access(text: &str, path: &Path) -> Result<Access, KubeconfigAccessError> {
    let config = kubeconfig::parse_in(text, path)
        .map_err(|cause| KubeconfigAccessError::Read { place: place(path), cause })?;
    access_of(config).map_err(|fault| KubeconfigAccessError::Use { place: place(path), fault })
}

fn access_of(config: Kubeconfig) -> Result<Access, Fault> {
    let (cluster, user) = current(config)?;
    let mut access = Access::none();
    of_cluster(cluster, &mut access)?;
    of_user(&user, &mut access)?;
    Ok(access)
}

fn place(path: &Path) -> String {
    format!("the kubeconfig of --prometheus-auth-config ({})", path.display())
}

/// The cluster and the user of the current context. A context without a user has no credentials.
fn current(config: Kubeconfig) -> Result<(Cluster, AuthInfo), Fault> {
    let name = config.current_context.filter(|name| !name.is_empty()).ok_or(Fault::NoCurrentContext)?;
    let Some(context) = config.contexts.iter().find(|context| context.name == name) else {
        let found = config.contexts.into_iter().map(|context| context.name).collect();
        return Err(Fault::NotThere { kind: "context", name, of: "current-context".to_owned(), found });
    };
    let Some(context) = &context.context else {
        return Err(Fault::EmptyContext(name));
    };
    let of = format!("the context {name:?}");
    let mut clusters = config.clusters;
    let Some(position) = clusters.iter().position(|cluster| cluster.name == context.cluster) else {
        let found = clusters.into_iter().map(|cluster| cluster.name).collect();
        return Err(Fault::NotThere { kind: "cluster", name: context.cluster.clone(), of, found });
    };
    let cluster = clusters.swap_remove(position).cluster.unwrap_or_default();
    let Some(user) = context.user.as_deref().filter(|user| !user.is_empty()) else {
        return Ok((cluster, AuthInfo::default()));
    };
    let mut users = config.auth_infos;
    let Some(position) = users.iter().position(|other| other.name == user) else {
        let found = users.into_iter().map(|user| user.name).collect();
        return Err(Fault::NotThere { kind: "user", name: user.to_owned(), of, found });
    };
    Ok((cluster, users.swap_remove(position).auth_info.unwrap_or_default()))
}

fn of_cluster(cluster: Cluster, access: &mut Access) -> Result<(), Fault> {
    access.notices.extend(cluster.other.keys().map(|field| unknown("cluster", field)));
    let authority = material(
        "certificate-authority",
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
    )?;
    let insecure = cluster.insecure_skip_tls_verify == Some(true);
    access.trust = match (authority, insecure) {
        (Some(_), true) => return Err(Fault::AuthorityAndInsecure),
        (Some(authority), false) => Trust::Authorities(authority),
        (None, true) => {
            access.notices.push(
                "the certificate of Prometheus is not checked: insecure-skip-tls-verify is set in the kubeconfig of \
                 --prometheus-auth-config; who stands between can read the credentials and answer in its place"
                    .to_owned(),
            );
            Trust::Anyone
        }
        (None, false) => Trust::System,
    };
    access.server_name = cluster.tls_server_name.filter(|name| !name.is_empty());
    if let Some(url) = cluster.proxy_url.filter(|url| !url.is_empty()) {
        access.proxy = Some(Proxy::new("proxy-url", &url)?);
    }
    Ok(())
}

fn of_user(user: &AuthInfo, access: &mut Access) -> Result<(), Fault> {
    if let Some(exec) = &user.exec {
        return Err(Fault::Exec { command: exec.command.clone().unwrap_or_default() });
    }
    if let Some(provider) = &user.auth_provider {
        return Err(Fault::AuthProvider { name: provider.name.clone() });
    }
    access.notices.extend(user.other.keys().map(|field| unknown("user", field)));
    let exposed = |secret: &Option<SecretString>| {
        secret.as_ref().map(|secret| secret.expose_secret().to_owned()).filter(|text| !text.is_empty())
    };
    let token_file = user.token_file.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from);
    // As in client-go the token stands in while the file cannot be read.
    let token = match (exposed(&user.token), token_file) {
        (Some(token), Some(path)) => Some(Material::file_or("tokenFile", &path, token.into_bytes())),
        (None, Some(path)) => Some(Material::file("tokenFile", &path)),
        (Some(token), None) => Some(Material::inline("token", token.into_bytes())),
        (None, None) => None,
    };
    let name = user.username.as_deref().unwrap_or_default();
    let password = exposed(&user.password).unwrap_or_default();
    match (token, name.is_empty() && password.is_empty()) {
        (Some(_), false) => return Err(Fault::TokenAndPassword),
        (Some(token), true) => {
            access.credentials.push(Credential::token("the token of the kubeconfig", in_kubeconfig(token)));
        }
        (None, false) => {
            access.credentials.push(Credential::basic("the username of the kubeconfig", name, &password));
        }
        (None, true) => {}
    }
    let certificate = material(
        "client-certificate",
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
    )?;
    let key = material("client-key", exposed(&user.client_key_data).as_deref(), user.client_key.as_deref())?;
    access.identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(Fault::HalfAnIdentity),
    };
    impersonate(user, access)
}

/// The headers by which kube-apiserver, as a proxy before Prometheus, takes one user for another.
fn impersonate(user: &AuthInfo, access: &mut Access) -> Result<(), Fault> {
    let mut headers = vec![("impersonate-user".to_owned(), user.impersonate.clone())];
    headers.push(("impersonate-uid".to_owned(), user.impersonate_uid.clone()));
    for group in user.impersonate_groups.iter().flatten() {
        headers.push(("impersonate-group".to_owned(), Some(group.clone())));
    }
    for (key, values) in user.impersonate_user_extra.iter().flatten() {
        let name = format!("impersonate-extra-{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
        headers.extend(values.iter().map(|value| (name.clone(), Some(value.clone()))));
    }
    for (name, value) in headers {
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        if user.impersonate.as_deref().is_none_or(str::is_empty) {
            return Err(Fault::NoImpersonatedUser);
        }
        let (Ok(key), Ok(value)) = (HeaderName::try_from(&name), HeaderValue::try_from(value)) else {
            return Err(Fault::NotAHeader(name));
        };
        access.headers.push((key, value));
    }
    Ok(())
}

/// A field whose data come before its file, as in client-go.
fn material(field: &'static str, data: Option<&str>, file: Option<&str>) -> Result<Option<Material>, Fault> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        let dense: String = data.split_whitespace().collect();
        let bytes = STANDARD.decode(dense).map_err(|cause| Fault::NotBase64 { field, cause })?;
        return Ok(Some(in_kubeconfig(Material::inline(format!("{field}-data"), bytes))));
    }
    Ok(file.filter(|file| !file.is_empty()).map(|file| in_kubeconfig(Material::file(field, Path::new(file)))))
}

fn in_kubeconfig(material: Material) -> Material {
    material.of("the kubeconfig")
}

fn unknown(part: &str, field: &str) -> String {
    format!(
        "the kubeconfig of --prometheus-auth-config has an unknown field in its {part}: {field}; it has no effect"
    )
}
