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
use super::proxy::Proxy;
use crate::kubeconfig;

/// The text of the kubeconfig in a file.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn read(path: &Path) -> Result<String, String> {
    kubeconfig::read_text(path).map_err(|error| format!("cannot read {}: {error}", place(path)))
}

/// The access that the text of a kubeconfig gives.
///
/// # Errors
/// A text that is not a kubeconfig, or asks for something that cannot be done here.
pub(super) fn access(text: &str, path: &Path) -> Result<Access, String> {
    let place = place(path);
    let config = kubeconfig::parse_in(text, path).map_err(|error| format!("cannot read {place}: {error}"))?;
    let (cluster, user) = current(config).map_err(|fault| format!("{fault} in {place}"))?;
    let mut access = Access::none();
    of_cluster(cluster, &mut access).map_err(|fault| format!("{fault} in {place}"))?;
    of_user(&user, &mut access).map_err(|fault| format!("{fault} in {place}"))?;
    Ok(access)
}

fn place(path: &Path) -> String {
    format!("the kubeconfig of --prometheus-auth-config ({})", path.display())
}

/// The cluster and the user of the current context. A context without a user has no credentials.
fn current(config: Kubeconfig) -> Result<(Cluster, AuthInfo), String> {
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let name = config
        .current_context
        .filter(|name| !name.is_empty())
        .ok_or("expected a current-context, found none")?;
    let Some(context) = config.contexts.iter().find(|context| context.name == name) else {
        let there = config.contexts.iter().map(|context| context.name.as_str()).collect();
        return Err(format!("expected the context {name:?} of current-context, found {}", names(there)));
    };
    let Some(context) = &context.context else {
        return Err(format!("expected a cluster in the context {name:?}, found nothing"));
    };
    let mut clusters = config.clusters;
    let Some(position) = clusters.iter().position(|cluster| cluster.name == context.cluster) else {
        let there = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        return Err(format!(
            "expected the cluster {:?} of the context {name:?}, found {}",
            context.cluster,
            names(there)
        ));
    };
    let cluster = clusters.swap_remove(position).cluster.unwrap_or_default();
    let Some(user) = context.user.as_deref().filter(|user| !user.is_empty()) else {
        return Ok((cluster, AuthInfo::default()));
    };
    let mut users = config.auth_infos;
    let Some(position) = users.iter().position(|other| other.name == user) else {
        let there = users.iter().map(|user| user.name.as_str()).collect();
        return Err(format!("expected the user {user:?} of the context {name:?}, found {}", names(there)));
    };
    Ok((cluster, users.swap_remove(position).auth_info.unwrap_or_default()))
}

fn of_cluster(cluster: Cluster, access: &mut Access) -> Result<(), String> {
    access.notices.extend(cluster.other.keys().map(|field| unknown("cluster", field)));
    let authority = material(
        "certificate-authority",
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
    )?;
    let insecure = cluster.insecure_skip_tls_verify == Some(true);
    access.trust = match (authority, insecure) {
        (Some(_), true) => {
            return Err("expected certificate-authority or insecure-skip-tls-verify, found both".to_owned());
        }
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

fn of_user(user: &AuthInfo, access: &mut Access) -> Result<(), String> {
    if let Some(exec) = &user.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        return Err(format!(
            "expected a token, tokenFile, client certificate or password, found exec ({command}): commands are not run \
             here; let one write the token to a file and name it as tokenFile, which is read again when it changes"
        ));
    }
    if let Some(provider) = &user.auth_provider {
        return Err(format!(
            "expected a token, tokenFile, client certificate or password, found auth-provider ({}), which Kubernetes \
             has removed",
            provider.name
        ));
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
        (Some(_), false) => return Err("expected a token or a password, found both".to_owned()),
        (Some(token), true) => {
            access.credentials.push(Credential::token("the token of the kubeconfig", in_kubeconfig(token)));
        }
        (None, false) => {
            access.credentials.push(Credential::basic("the username of the kubeconfig", name, &password)?);
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
        _ => return Err("expected client-certificate and client-key together, found one".to_owned()),
    };
    impersonate(user, access)
}

/// The headers by which kube-apiserver, as a proxy before Prometheus, takes one user for another.
fn impersonate(user: &AuthInfo, access: &mut Access) -> Result<(), String> {
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
            return Err("expected as beside as-uid, as-groups and as-user-extra, found none".to_owned());
        }
        let unusable = |_| format!("expected text that a header can hold for {name}");
        let value = HeaderValue::try_from(value).map_err(|error| unusable(error.to_string()))?;
        let name = HeaderName::try_from(&name).map_err(|error| unusable(error.to_string()))?;
        access.headers.push((name, value));
    }
    Ok(())
}

/// A field whose data come before its file, as in client-go.
fn material(field: &str, data: Option<&str>, file: Option<&str>) -> Result<Option<Material>, String> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        let dense: String = data.split_whitespace().collect();
        let bytes =
            STANDARD.decode(dense).map_err(|error| format!("expected Base64 in {field}-data: {error}"))?;
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
