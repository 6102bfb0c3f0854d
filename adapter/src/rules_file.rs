//! The rule file on disk: read at start, then followed, so that an edited ConfigMap takes effect without a restart. A
//! broken edit keeps the rules that were read last; if the rules need not all be valid, a valid rule of a broken file
//! is taken all the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rules::presets::Preset;
use rules::{Faults, RuleSet};
use serve::{FileName, FileStats, FollowedFile, files};
use tokio::sync::watch;

/// Why a rule file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RulesFileError {
    /// The file could not be read.
    #[error("cannot read the rule file {path}", path = path.display())]
    Unreadable {
        /// The file as given by `--config`.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: std::io::Error,
    },
    /// The file was read and is not a valid rule file.
    #[error("the rule file {path} is not valid:\n{faults}", path = path.display())]
    Invalid {
        /// The file as given by `--config`.
        path: PathBuf,
        /// Everything that is wrong with it.
        faults: Faults,
    },
}

/// A rule file that is followed.
pub struct RulesFile(FollowedFile<RuleSet>);

impl RulesFile {
    /// Reads and compiles the file. One with any fault is refused whole if `strict`, else its valid rules are taken.
    ///
    /// # Errors
    /// A file that cannot be read, and one that is refused.
    pub fn open(path: &Path, strict: bool) -> Result<(RulesFile, RuleSet), RulesFileError> {
        RulesFile::with_presets(Some(path), &[], strict)
    }

    /// Reads and compiles the file as [`RulesFile::open`] does, and adds the presets' rules after its own. Without a
    /// file these are all.
    ///
    /// # Errors
    /// A file that cannot be read, and one that is refused.
    pub fn with_presets(
        path: Option<&Path>,
        presets: &[Preset],
        strict: bool,
    ) -> Result<(RulesFile, RuleSet), RulesFileError> {
        let name = path.map_or_else(|| "the presets".to_owned(), |path| path.display().to_string());
        let path = path.map(Path::to_owned);
        let (read_path, presets) = (path.clone(), presets.to_vec());
        let (file, rules) = FollowedFile::open(
            NAME,
            name,
            move || read_path.as_deref().map_or(Ok(String::new()), read),
            move |text: String| compile(path.as_deref().unwrap_or(Path::new("")), &presets, strict, &text),
        )?;
        Ok((RulesFile(file), rules))
    }

    /// What became of the file.
    pub fn stats(&self) -> Arc<FileStats> {
        self.0.stats()
    }

    /// Polls the file until the program ends and publishes the rules of each valid change.
    pub async fn follow(self, every: Duration, publish: watch::Sender<Arc<RuleSet>>) {
        let publish = |rules: RuleSet| {
            log_findings(&rules);
            publish.send_replace(Arc::new(rules));
        };
        self.0.follow(every, publish).await;
    }
}

/// Logs which rules of a file are left out, and what else its author should know.
pub fn log_findings(rules: &RuleSet) {
    for fault in rules.refused.iter().flat_map(|(_, faults)| faults.iter()) {
        tracing::error!("cannot use a rule: {fault}; leaving it out and using the other rules of the file");
    }
    for warning in &rules.warnings {
        tracing::warn!("rule file: {warning}");
    }
}

/// The text of a rule file.
///
/// # Errors
/// A file that cannot be read, or is larger than a rule file may be.
pub(crate) fn read(path: &Path) -> Result<String, RulesFileError> {
    files::read_text(path, rules::LARGEST_FILE)
        .map_err(|cause| RulesFileError::Unreadable { path: path.to_owned(), cause })
}

fn compile(path: &Path, presets: &[Preset], strict: bool, text: &str) -> Result<RuleSet, RulesFileError> {
    let rules = if strict { rules::load(text) } else { rules::load_valid(text) };
    let invalid = |faults| RulesFileError::Invalid { path: path.to_owned(), faults };
    let mut rules = rules.map_err(invalid)?;
    for preset in presets {
        rules.append(rules::load(preset.text()).map_err(invalid)?);
    }
    Ok(rules)
}

/// What metrics call the rule file.
pub(crate) const LABEL: &str = "rules";
const NAME: FileName = FileName { label: LABEL, file: "rule file", kept: "the previous rules" };

#[cfg(test)]
mod tests {
    use serve::error_chain;

    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_not_read_to_its_end() {
        let error = error_chain(&RulesFile::open(Path::new("/dev/zero"), true).err().expect("endless"));
        assert!(error.contains("expected a file of at most 4194304 bytes"), "{error}");
    }
}
