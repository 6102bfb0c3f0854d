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
use serve::files;
use sha2::{Digest as _, Sha256};
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

/// A rule file, and which text was last taken from it.
pub struct RulesFile {
    path: PathBuf,
    strict: bool,
    in_force: Digest,
}

/// Tells texts of the file apart. Rules depend on nothing else, so a text is compiled once.
type Digest = [u8; 32];

impl RulesFile {
    /// Reads and compiles the file. One with any fault is refused whole if `strict`, else its valid rules are taken.
    pub fn open(path: &Path, strict: bool) -> Result<(RulesFile, RuleSet), RulesFileError> {
        let text = read(path)?;
        let rules = compile(path, strict, &text)?;
        Ok((RulesFile { path: path.to_owned(), strict, in_force: digest(&text) }, rules))
    }

    /// Polls the file until the program ends and publishes each valid change. A text is compiled once, beside the
    /// threads that serve. Each bad text is reported once, and so is the return to the text in force.
    pub async fn follow(
        mut self,
        every: Duration,
        publish: watch::Sender<Arc<RuleSet>>,
        telemetry: Arc<Telemetry>,
    ) {
        let mut refused: Option<Refused> = None;
        loop {
            tokio::time::sleep(every).await;
            let (path, strict) = (self.path.clone(), self.strict);
            let known = [Some(self.in_force), refused.as_ref().and_then(|refused| refused.text)];
            let look = move || look(&path, strict, &known);
            let outcome = match tokio::task::spawn_blocking(look).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    Look::Refused(Refused { text: None, why: format!("reading it failed: {error}") })
                }
            };
            let now = SystemTime::now();
            match outcome {
                Look::Known(text) if text == self.in_force => {
                    if refused.take().is_some() {
                        telemetry.config_reloaded(true, now);
                        tracing::info!(path = %self.path.display(), "rule file is as before again; its rules are in force");
                    }
                }
                Look::Known(_) => telemetry.config_reloaded(false, now),
                Look::Valid(text, rules) => {
                    telemetry.config_reloaded(true, now);
                    tracing::info!(path = %self.path.display(), "rule file reloaded");
                    log_findings(&rules);
                    self.in_force = text;
                    refused = None;
                    publish.send_replace(Arc::new(*rules));
                }
                Look::Refused(found) => {
                    telemetry.config_reloaded(false, now);
                    if refused.as_ref().is_none_or(|refused| refused.why != found.why) {
                        // An event is a line.
                        let causes = found.why.replace(":\n", ": ").replace('\n', "; ");
                        tracing::error!("cannot load rule file: {causes}; keeping the previous rules");
                    }
                    refused = Some(found);
                }
            }
        }
    }
}

/// What a look at the file found.
enum Look {
    /// A text that was compiled before: the one in force, or the one that was refused last.
    Known(Digest),
    Valid(Digest, Box<RuleSet>),
    Refused(Refused),
}

/// Why the file was last refused.
struct Refused {
    /// `None` when it could not be read.
    text: Option<Digest>,
    why: String,
}

fn look(path: &Path, strict: bool, known: &[Option<Digest>]) -> Look {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => return Look::Refused(Refused { text: None, why: error.to_string() }),
    };
    let digest = digest(&text);
    if known.contains(&Some(digest)) {
        return Look::Known(digest);
    }
    match compile(path, strict, &text) {
        Ok(rules) => Look::Valid(digest, Box::new(rules)),
        Err(error) => Look::Refused(Refused { text: Some(digest), why: error.to_string() }),
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
    files::read_text(path, rules::LARGEST_FILE)
        .map_err(|cause| RulesFileError::Unreadable { path: path.to_owned(), cause })
}

fn digest(text: &str) -> Digest {
    Sha256::digest(text).into()
}

fn compile(path: &Path, strict: bool, text: &str) -> Result<RuleSet, RulesFileError> {
    let rules = if strict { rules::load(text) } else { rules::load_valid(text) };
    rules.map_err(|faults| RulesFileError::Invalid { path: path.to_owned(), faults })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "rules: {";

    #[test]
    fn a_text_is_compiled_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("rules.yaml");
        std::fs::write(&path, BAD).expect("writable");
        let Look::Refused(Refused { text, why }) = look(&path, true, &[]) else { panic!("it is taken") };
        assert!(why.contains("is not valid"), "{why}");
        let known = [Some(digest("rules: []")), text];
        assert!(matches!(look(&path, true, &known), Look::Known(known) if Some(known) == text));
        std::fs::write(&path, "rules: []").expect("writable");
        assert!(matches!(look(&path, true, &known), Look::Known(_)));
        std::fs::write(&path, "externalRules: []").expect("writable");
        assert!(matches!(look(&path, true, &known), Look::Valid(..)));
        std::fs::remove_file(&path).expect("it is there");
        assert!(matches!(look(&path, true, &known), Look::Refused(Refused { text: None, .. })));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read_to_its_end() {
        let error = RulesFile::open(Path::new("/dev/zero"), true).err().expect("endless").to_string();
        assert!(error.contains("expected a file of at most 4194304 bytes"), "{error}");
    }
}
