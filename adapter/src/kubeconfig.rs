//! Kubeconfigs, as kube reads them, within bounds: a few lines of YAML aliases can stand for more than fits into
//! memory.

use std::path::Path;

use kube::config::{AuthInfo, Cluster, Kubeconfig};
use serde_saphyr::{Options, alias_limits, budget, options};
use serve::files;

/// Why a kubeconfig cannot be read. Its text is not shown: it may hold credentials.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The file cannot be read, or is too large.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// It is not a kubeconfig, or holds too much. Only the reader's own words are kept: its error shows the text.
    #[error("{0}")]
    Invalid(String),
    /// Its documents cannot be merged.
    #[error(transparent)]
    Merge(#[from] kube::config::KubeconfigError),
}

/// The kubeconfig in a file. Files that it names are relative to its folder, as for kubectl.
///
/// # Errors
/// A file that cannot be read, is too large, or is not a kubeconfig.
pub fn read(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    parse_in(&read_text(path)?, path)
}

/// The text of a file.
///
/// # Errors
/// A file that cannot be read, or is too large.
pub fn read_text(path: &Path) -> Result<String, KubeconfigError> {
    Ok(files::read_text(path, LARGEST_FILE)?)
}

/// The kubeconfig of a file's text. Files that it names are relative to the file's folder.
///
/// # Errors
/// A text that is not a kubeconfig, or holds too much.
pub fn parse_in(text: &str, path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let mut config = parse(text)?;
    if let Some(folder) = path.parent() {
        let clusters = config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut());
        clusters.for_each(|cluster| of_cluster(cluster, folder));
        let users = config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut());
        users.for_each(|user| of_user(user, folder));
    }
    Ok(config)
}

/// The kubeconfig of a text; several documents are merged as kube merges them.
///
/// # Errors
/// A text that is not a kubeconfig, or holds too much.
pub fn parse(text: &str) -> Result<Kubeconfig, KubeconfigError> {
    // Windows' editors begin so.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents: Vec<Kubeconfig> = serde_saphyr::from_multiple_with_options(text, bounds())
        .map_err(|error| KubeconfigError::Invalid(error.without_snippet().to_string()))?;
    Ok(documents.into_iter().try_fold(Kubeconfig::default(), Kubeconfig::merge)?)
}

fn of_cluster(cluster: &mut Cluster, folder: &Path) {
    relative_to(folder, &mut cluster.certificate_authority);
}

fn of_user(user: &mut AuthInfo, folder: &Path) {
    for file in [&mut user.client_certificate, &mut user.client_key, &mut user.token_file] {
        relative_to(folder, file);
    }
    // Without a separator it is looked for in PATH.
    if let Some(exec) = &mut user.exec
        && exec.command.as_ref().is_some_and(|command| command.contains(std::path::MAIN_SEPARATOR))
    {
        relative_to(folder, &mut exec.command);
    }
}

fn relative_to(folder: &Path, file: &mut Option<String>) {
    if let Some(path) = file
        && Path::new(path.as_str()).is_relative()
        && let Some(absolute) = folder.join(&*path).to_str()
    {
        absolute.clone_into(path);
    }
}

fn bounds() -> Options {
    options! {
        budget: budget! {
            max_nodes: MOST_NODES,
            max_events: 4 * MOST_NODES,
            max_documents: 100,
            max_recorded_anchor_events: MOST_NODES,
            max_recorded_anchor_bytes: LARGEST_FILE,
        },
        alias_limits: alias_limits! { max_total_replayed_events: MOST_FROM_ALIASES },
    }
}

/// A kubeconfig of a hundred clusters with their certificates has half a megabyte.
const LARGEST_FILE: usize = 4 << 20;
const MOST_NODES: usize = 100_000;
const MOST_FROM_ALIASES: usize = 10_000;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn files_are_relative_to_the_kubeconfig() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config");
        let text = "clusters: [{name: c, cluster: {certificate-authority: ca.crt}}]\n\
                    users: [{name: u, user: {tokenFile: /abs/token, client-key: keys/key.pem, exec: {command: run}}}]\n";
        std::fs::write(&path, text).expect("writable");
        let config = read(&path).expect("a kubeconfig");
        let in_folder = |name: &str| Some(dir.path().join(name).display().to_string());
        let cluster = config.clusters[0].cluster.as_ref().expect("a cluster");
        assert_eq!(cluster.certificate_authority, in_folder("ca.crt"));
        let user = config.auth_infos[0].auth_info.as_ref().expect("a user");
        assert_eq!(user.token_file.as_deref(), Some("/abs/token"));
        assert_eq!(user.client_key, in_folder("keys/key.pem"));
        assert_eq!(user.exec.as_ref().and_then(|exec| exec.command.as_deref()), Some("run"));
    }

    #[test]
    fn aliases_that_stand_for_too_much_are_refused_with_the_limit_and_the_line() {
        let level = |level: u32| {
            let alias = if level == 0 { "x".to_owned() } else { format!("*a{}", level - 1) };
            format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", "))
        };
        let bomb = (0..9).map(level).collect::<Vec<_>>().concat();
        each_row([bomb.clone(), format!("extensions:\n{bomb}"), format!("---\n{{}}\n---\n{bomb}")], |text| {
            let error = parse(&text).expect_err("a bomb").to_string();
            assert!(error.contains("10000") && error.contains("line"), "{error}");
        });
    }

    #[test]
    fn an_error_does_not_show_the_text() {
        let error = parse("users: [{name: u, user: {token: [hunter2]}}]").expect_err("no token").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
