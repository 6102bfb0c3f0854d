//! The report of `adapter check` in each of its forms, on standard output.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::diagnostic::{Diagnostic, FileReport, Place, Severity};
use super::found::{self, RuleFound};
use crate::config::ReportFormat;

/// A reader that goes early, as `head` does, ends the report and nothing else.
pub(super) fn print(reports: &[FileReport], format: ReportFormat) {
    let text = match format {
        ReportFormat::Text => text(reports),
        ReportFormat::Json => json(reports),
        ReportFormat::Github => github(reports),
    };
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

fn text(reports: &[FileReport]) -> String {
    let styled = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for report in reports {
        for diagnostic in &report.diagnostics {
            text.push_str(&renderer.render(&groups(report, diagnostic)));
            text.push_str("\n\n");
        }
        text.push_str(&found::text(&report.live));
        if let Some(summary) = &report.summary {
            // Writing to memory does not fail.
            let _ = writeln!(text, "{}: {summary}", report.name);
        }
    }
    text
}

fn groups<'a>(report: &'a FileReport, diagnostic: &'a Diagnostic) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Note => Level::NOTE,
        Severity::Warning => Level::WARNING,
        Severity::NeverAnswers | Severity::Refused => Level::ERROR,
    };
    let mut title = level.primary_title(&diagnostic.message);
    if let Some(lint) = diagnostic.lint {
        title = title.id(lint);
    }
    let mut group = match diagnostic.place.as_ref().map(|place| (place, Line::at(&report.text, place))) {
        Some((place, Some(line))) => {
            let annotation = AnnotationKind::Primary.span(line.span.clone());
            let snippet = Snippet::source(line.text).path(&report.name).line_start(place.line);
            title.element(snippet.annotation(annotation.label(&place.path)))
        }
        Some((place, None)) => {
            title.element(Origin::path(&report.name).line(place.line).char_column(place.column))
        }
        None => title.element(Origin::path(&report.name)),
    };
    if let Some(rendered) = &diagnostic.rendered
        && let Some(line) = rendered.text.lines().nth(rendered.line - 1)
    {
        let at = (rendered.column - 1).min(line.len());
        let at = (0..=at).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
        let end = line[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        let annotation = AnnotationKind::Primary.span(at..end).label(&rendered.message);
        group = group.element(
            Snippet::source(line).path("the query").line_start(rendered.line).annotation(annotation),
        );
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    vec![group]
}

/// A line of a text, and the part of it that a finding is about.
struct Line<'a> {
    text: &'a str,
    /// In bytes.
    span: Range<usize>,
}

impl Line<'_> {
    fn at<'a>(text: &'a str, place: &Place) -> Option<Line<'a>> {
        let line = text.lines().nth(place.line.checked_sub(1)?)?;
        let byte = |character: usize| line.char_indices().nth(character).map_or(line.len(), |(at, _)| at);
        let start = byte(place.column.checked_sub(1)?);
        let rest = || line.trim_end().len().max(start);
        let end = if place.width == 0 { rest() } else { byte(place.column - 1 + place.width) };
        Some(Line { text: line, span: start..end })
    }
}

#[derive(Serialize)]
struct Document<'a> {
    files: Vec<FileDocument<'a>>,
}

#[derive(Serialize)]
struct FileDocument<'a> {
    file: &'a str,
    /// What the file holds; `null` for one that is not served.
    summary: Option<&'a str>,
    diagnostics: Vec<DiagnosticDocument<'a>>,
    /// What each rule finds in a Prometheus.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    live: &'a [RuleFound],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiagnosticDocument<'a> {
    severity: &'static str,
    lint: Option<&'static str>,
    message: &'a str,
    path: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    end_column: Option<usize>,
    help: Option<&'a str>,
    query: Option<QueryDocument<'a>>,
}

#[derive(Serialize)]
struct QueryDocument<'a> {
    text: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
}

fn json(reports: &[FileReport]) -> String {
    let diagnostic = |report: &'_ FileReport, found: &Diagnostic| end_column(report, found);
    let files = reports.iter().map(|report| FileDocument {
        file: &report.name,
        summary: report.summary.as_deref(),
        live: &report.live,
        diagnostics: report
            .diagnostics
            .iter()
            .map(|found| DiagnosticDocument {
                severity: found.severity.name(),
                lint: found.lint,
                message: &found.message,
                path: found.place.as_ref().map(|place| place.path.as_str()),
                line: found.place.as_ref().map(|place| place.line),
                column: found.place.as_ref().map(|place| place.column),
                end_column: diagnostic(report, found),
                help: found.help.as_deref(),
                query: found.rendered.as_ref().map(|rendered| QueryDocument {
                    text: &rendered.text,
                    line: rendered.line,
                    column: rendered.column,
                    message: &rendered.message,
                }),
            })
            .collect(),
    });
    let document = Document { files: files.collect() };
    // Strings and numbers can always be written.
    let mut text = serde_json::to_string_pretty(&document).expect("strings and numbers");
    text.push('\n');
    text
}

/// After the last character, 1-based.
fn end_column(report: &FileReport, found: &Diagnostic) -> Option<usize> {
    let place = found.place.as_ref()?;
    let line = Line::at(&report.text, place)?;
    Some(line.text[..line.span.end].chars().count() + 1)
}

fn github(reports: &[FileReport]) -> String {
    let mut text = String::new();
    for report in reports {
        for found in &report.diagnostics {
            let command = match found.severity {
                Severity::Note => "notice",
                Severity::Warning => "warning",
                Severity::NeverAnswers | Severity::Refused => "error",
            };
            let mut properties = vec![format!("file={}", property(&report.name))];
            if let Some(place) = &found.place {
                properties.push(format!("line={},col={}", place.line, place.column));
                properties.extend(end_column(report, found).map(|end| format!("endColumn={end}")));
            }
            properties.extend(found.lint.map(|lint| format!("title={}", property(lint))));
            let path = found.place.as_ref().map(|place| place.path.as_str()).filter(|path| !path.is_empty());
            let message = [
                path.map(|path| format!("{path}: ")).unwrap_or_default(),
                found.message.clone(),
                found.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default(),
            ];
            let message = data(&message.concat());
            // Writing to memory does not fail.
            let _ = writeln!(text, "::{command} {}::{message}", properties.join(","));
        }
    }
    text
}

/// A message of a workflow's command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
