//! The flags of the audit log.

use std::path::PathBuf;
use std::time::Duration;

use apiservice::audit::{Rotation, Target};
use clap::Args;

use crate::config::AuditConfig;

/// Flags of the audit log.
#[derive(Debug, Args)]
pub(super) struct AuditFlags {
    /// Audit policy, audit.k8s.io/v1. Without one, no request is recorded.
    #[arg(long, value_name = "FILE", help_heading = "Audit")]
    audit_policy_file: Option<PathBuf>,
    /// Audit log, one JSON object per line; - means standard output. It never blocks a request: events that cannot be
    /// written in time are dropped and counted.
    #[arg(long, value_name = "FILE", help_heading = "Audit")]
    audit_log_path: Option<PathBuf>,
    /// Size of the audit log after which it is rotated, in megabytes; 0 means 100.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 0, help_heading = "Audit")]
    audit_log_maxsize: u64,
    /// Maximum number of rotated audit logs; 0 keeps all, which fills the disk.
    #[arg(long, value_name = "COUNT", default_value_t = 100, help_heading = "Audit")]
    audit_log_maxbackup: usize,
    /// Maximum age of rotated audit logs, in days; 0 means no limit.
    #[arg(long, value_name = "DAYS", default_value_t = 366, help_heading = "Audit")]
    audit_log_maxage: u64,
    /// Format of audit events; only json is supported.
    #[arg(long, value_name = "FORMAT", default_value = "json", value_parser = ["json"], help_heading = "Audit")]
    audit_log_format: String,
    /// API version of audit events; only audit.k8s.io/v1 is supported.
    #[arg(long, value_name = "VERSION", default_value = "audit.k8s.io/v1", value_parser = ["audit.k8s.io/v1"], help_heading = "Audit")]
    audit_log_version: String,
}

impl AuditFlags {
    /// The audit configuration; `None` without both flags, as upstream.
    pub(super) fn validate(self, notices: &mut Vec<String>) -> Option<AuditConfig> {
        let (policy, path) = match (self.audit_policy_file, self.audit_log_path) {
            (Some(policy), Some(path)) => (policy, path),
            (None, None) => return None,
            (Some(_), None) => {
                notices.push("--audit-policy-file has no effect without --audit-log-path".to_owned());
                return None;
            }
            (None, Some(_)) => {
                notices.push("--audit-log-path has no effect without --audit-policy-file".to_owned());
                return None;
            }
        };
        let megabytes = if self.audit_log_maxsize == 0 { 100 } else { self.audit_log_maxsize };
        let days = self.audit_log_maxage;
        let rotation = Rotation {
            bytes: megabytes.saturating_mul(1 << 20),
            backups: self.audit_log_maxbackup,
            max_age: (days > 0).then(|| Duration::from_secs(days.saturating_mul(24 * 60 * 60))),
        };
        let target = if path.as_os_str() == "-" { Target::Stdout } else { Target::File { path, rotation } };
        Some(AuditConfig { policy, target })
    }
}
