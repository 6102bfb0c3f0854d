//! The audit log as the command line asks for it.

use std::path::PathBuf;
use std::sync::Arc;

use apiservice::audit::{Audit, AuditLog, AuditStats, Policy, PolicyError, Target};
use serve::files;

use crate::config::AuditConfig;

/// Why the audit log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The policy cannot be read.
    #[error("cannot read the audit policy {path}", path = path.display())]
    ReadPolicy {
        /// The policy.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: std::io::Error,
    },
    /// The policy is not valid.
    #[error("invalid audit policy {path}", path = path.display())]
    Policy {
        /// The policy.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: PolicyError,
    },
    /// The log cannot be opened.
    #[error("cannot open the audit log {place}")]
    Log {
        /// The file, or standard output.
        place: String,
        /// The operating system's reason.
        #[source]
        cause: std::io::Error,
    },
}

/// Reads the policy and opens the log.
///
/// # Errors
/// A policy that cannot be used, a log that cannot be opened.
pub fn open(config: AuditConfig) -> Result<(Arc<Audit>, Arc<AuditStats>), AuditError> {
    let AuditConfig { policy: path, target } = config;
    let text = files::read_text(&path, LARGEST_POLICY)
        .map_err(|cause| AuditError::ReadPolicy { path: path.clone(), cause })?;
    let policy = Policy::parse(&text).map_err(|fault| AuditError::Policy { path: path.clone(), fault })?;
    if policy.asks_for_bodies() {
        tracing::warn!(
            "audit levels Request and RequestResponse are not supported; recording Metadata, without bodies"
        );
    }
    let place = match &target {
        Target::Stdout => "standard output".to_owned(),
        Target::File { path, .. } => path.display().to_string(),
    };
    let log = AuditLog::open(target).map_err(|cause| AuditError::Log { place, cause })?;
    let stats = log.stats();
    Ok((Arc::new(Audit::new(policy, log)), stats))
}

/// kube-apiserver's own policy for large clusters has ten kilobytes.
const LARGEST_POLICY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use serve::error_chain;

    use super::*;

    #[test]
    fn faults_name_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let policy = dir.path().join("policy.yaml");
        let fault = |policy: &std::path::Path, target| {
            let config = AuditConfig { policy: policy.to_owned(), target };
            error_chain(&open(config).err().expect("a fault"))
        };
        let missing = fault(&policy, Target::Stdout);
        assert!(
            missing.starts_with("cannot read the audit policy ") && missing.contains("policy.yaml"),
            "{missing}"
        );
        std::fs::write(&policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
            .expect("writable");
        let rotation = apiservice::audit::Rotation { bytes: 1 << 20, backups: 0, max_age: None };
        // A folder is not a file.
        let closed = fault(&policy, Target::File { path: dir.path().to_owned(), rotation });
        assert!(closed.starts_with("cannot open the audit log ") && closed.contains(": "), "{closed}");
        let config =
            AuditConfig { policy, target: Target::File { path: dir.path().join("a.log"), rotation } };
        assert!(open(config).is_ok());
    }
}
