//! `adapter check FILE...`: loads rule files by the server's own code and says what is wrong with them.

mod diagnostic;
mod found;
mod hpa;
mod live;
mod report;

use std::process::ExitCode;

use rules::{LintSettings, RuleSet};
use serve::error_chain;

use self::diagnostic::{Diagnostic, FileReport, Severity};
use super::exit_status::UNUSABLE;
use super::runtime::block_on;
use crate::config::Check;
use crate::rules_file;
use crate::source::prometheus::{Prometheus, PrometheusSettings};

/// Prints every finding of each file, and what the file holds.
pub(super) fn run(config: &Check) -> ExitCode {
    let Check { files, format, strict, scrape_interval, autoscalers, prometheus } = config;
    let settings = LintSettings { scrape_interval: *scrape_interval };
    let mut all = RuleSet::default();
    let mut reports: Vec<FileReport> = files
        .iter()
        .map(|path| {
            let name = path.display().to_string();
            match rules_file::read(path) {
                Ok(text) => checked(name, text, settings, &mut all),
                Err(error) => FileReport::unread(name, error_chain(&error)),
            }
        })
        .collect();
    reports.extend(autoscalers.iter().map(|path| hpa::check(path, &all)));
    reports.extend(prometheus.as_ref().map(|settings| live(settings, &all)));
    report::print(&reports, *format);
    exit_code(&reports, *strict)
}

fn checked(name: String, text: String, settings: LintSettings, all: &mut RuleSet) -> FileReport {
    let (rules, faults) = rules::inspect(&text, settings);
    let faults = faults.into_iter().flatten().map(Diagnostic::of_fault);
    let mut diagnostics: Vec<Diagnostic> =
        faults.chain(rules.warnings.iter().map(Diagnostic::of_warning)).collect();
    diagnostics.sort_by_key(Diagnostic::position);
    let summary =
        diagnostics.iter().all(|found| found.severity != Severity::Refused).then(|| summary(&rules));
    all.append(rules);
    FileReport { name, text, diagnostics, summary, ..FileReport::default() }
}

/// What a Prometheus has for the rules.
fn live(settings: &PrometheusSettings, rules: &RuleSet) -> FileReport {
    let refused = |cause: String| FileReport::unread("Prometheus".to_owned(), cause);
    let report = block_on(async {
        match Prometheus::new(settings.clone()) {
            Ok(prometheus) => live::check(&prometheus, rules).await,
            Err(error) => refused(error_chain(&error)),
        }
    });
    report.unwrap_or_else(|error| refused(error_chain(&error)))
}

fn summary(rules: &RuleSet) -> String {
    format!(
        "{} custom and {} external rules, resource rules: {}",
        rules.custom.len(),
        rules.external.len(),
        if rules.resource.is_some() { "yes" } else { "no" },
    )
}

fn exit_code(reports: &[FileReport], strict: bool) -> ExitCode {
    let worst = reports.iter().flat_map(|report| &report.diagnostics).map(|found| found.severity).max();
    match worst {
        Some(Severity::Refused) => ExitCode::from(UNUSABLE),
        Some(Severity::NeverAnswers) => ExitCode::from(NEVER_ANSWERS),
        Some(Severity::Warning) if strict => ExitCode::from(NEVER_ANSWERS),
        _ => ExitCode::SUCCESS,
    }
}

/// A file that the server takes, with a rule that never answers.
const NEVER_ANSWERS: u8 = 1;
