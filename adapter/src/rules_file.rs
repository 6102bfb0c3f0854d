//! The rule file on disk: read at start, then polled by content, so that an edited ConfigMap takes effect without a
//! restart. A broken edit keeps the rules that were read last; if the rules need not all be valid, a valid rule of a broken
//! file is taken all the same.
//!
//! Polling, not inotify: the kubelet replaces a mounted ConfigMap by swapping a symbolic link, which a watch on the
//! file does not see.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rules::{Faults, RuleSet};
use tokio::sync::watch;

use crate::telemetry::Telemetry;

/// Why a rule file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RulesFileError {
    /// The file could not be read.
    #[error("cannot read the rule file {path}: {cause}", path = path.display())]
    Unreadable {
        /// The file as given by `--config`.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// The file was read and is no valid rule file.
    #[error("the rule file {path} is not valid:\n{faults}", path = path.display())]
    Invalid {
        /// The file as given by `--config`.
        path: PathBuf,
        /// Everything that is wrong with it.
        faults: Faults,
    },
}

/// A rule file and the text that was last taken from it.
pub struct RulesFile {
    path: PathBuf,
    strict: bool,
    text: String,
}

impl RulesFile {
    /// Reads and compiles the file. One with any fault is refused whole if `strict`, else its valid rules are taken.
    pub fn open(path: &Path, strict: bool) -> Result<(RulesFile, RuleSet), RulesFileError> {
        let text = read(path)?;
        let rules = compile(path, strict, &text)?;
        Ok((RulesFile { path: path.to_owned(), strict, text }, rules))
    }

    /// Polls the file until the program ends and publishes each valid change. Each bad text is reported once, and so is the
    /// return to the text in force.
    pub async fn follow(
        mut self,
        every: Duration,
        publish: watch::Sender<Arc<RuleSet>>,
        telemetry: Arc<Telemetry>,
    ) {
        let mut reported: Option<String> = None;
        loop {
            tokio::time::sleep(every).await;
            let outcome = match read(&self.path) {
                Ok(text) if text == self.text => {
                    if reported.take().is_some() {
                        telemetry.config_reloaded(true, SystemTime::now());
                        tracing::info!(path = %self.path.display(), "rule file is as before again; its rules are in force");
                    }
                    continue;
                }
                Ok(text) => compile(&self.path, self.strict, &text).map(|rules| (text, rules)),
                Err(error) => Err(error),
            };
            telemetry.config_reloaded(outcome.is_ok(), SystemTime::now());
            match outcome {
                Ok((text, rules)) => {
                    tracing::info!(path = %self.path.display(), "rule file reloaded");
                    log_findings(&rules);
                    self.text = text;
                    reported = None;
                    publish.send_replace(Arc::new(rules));
                }
                Err(error) => {
                    let message = error.to_string();
                    if reported.as_ref() != Some(&message) {
                        // An event is a line.
                        let causes = message.replace(":\n", ": ").replace('\n', "; ");
                        tracing::error!("cannot load rule file: {causes}; keeping the previous rules");
                        reported = Some(message);
                    }
                }
            }
        }
    }
}

/// Logs which rules of a file are left out, and what else its author should know.
pub fn log_findings(rules: &RuleSet) {
    for fault in rules.refused.iter().flat_map(|(_, faults)| faults.iter()) {
        tracing::error!(
            "cannot use a rule: {fault}; leaving it out, the other rules of the file are in force"
        );
    }
    for warning in &rules.warnings {
        tracing::warn!(%warning, "rule file");
    }
}

fn read(path: &Path) -> Result<String, RulesFileError> {
    std::fs::read_to_string(path).map_err(|cause| RulesFileError::Unreadable { path: path.to_owned(), cause })
}

fn compile(path: &Path, strict: bool, text: &str) -> Result<RuleSet, RulesFileError> {
    let rules = if strict { rules::load(text) } else { rules::load_valid(text) };
    rules.map_err(|faults| RulesFileError::Invalid { path: path.to_owned(), faults })
}
