//! The notation: a file becomes commands.

use std::time::Duration;

use engine::labels::{Labels, METRIC_NAME};
use engine::notation::{Point, described, labels, number, series_end};
use promql_parser::parser::Expr;

/// One command of a file, and its line.
pub(crate) struct Command {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    /// Forget everything loaded.
    Clear,
    /// Load series, a value each step from time 0.
    Load {
        step: Duration,
        series: Vec<(Labels, Vec<Point>)>,
        /// Series with samples that this engine has no form for: native histograms.
        unsupported: Vec<Labels>,
    },
    Eval(Eval),
}

pub(crate) struct Eval {
    pub(crate) query: String,
    pub(crate) time: Time,
    pub(crate) fails: bool,
    pub(crate) ordered: bool,
    pub(crate) expected: Expected,
}

pub(crate) enum Time {
    At(i64),
    Range { start_ms: i64, end_ms: i64, step: Duration },
}

pub(crate) enum Expected {
    Scalar(f64),
    Text(String),
    Series(Vec<(Labels, Vec<Point>)>),
    /// A result of a kind that cannot be compared here.
    Unsupported(String),
}

/// Reads a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with('#'))
        .collect();
    let mut commands = Vec::new();
    let mut position = 0;
    while let Some((number, line)) = lines.get(position) {
        position += 1;
        if line.trim().is_empty() {
            continue;
        }
        let start = position;
        // A block reaches to the next line that is blank or not indented.
        while lines
            .get(position)
            .is_some_and(|(_, line)| line.starts_with([' ', '\t']) && !line.trim().is_empty())
        {
            position += 1;
        }
        let block: Vec<&str> = lines[start..position].iter().map(|(_, line)| line.trim()).collect();
        let kind = command(line.trim(), &block).map_err(|error| format!("line {number}: {error}"))?;
        commands.push(Command { line: *number, kind });
    }
    Ok(commands)
}

fn command(line: &str, block: &[&str]) -> Result<Kind, String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match word {
        "clear" => Ok(Kind::Clear),
        "load" | "load_with_nhcb" => {
            let step = duration(rest.trim())?;
            let (mut series, mut unsupported) = (Vec::new(), Vec::new());
            for line in block {
                if line.contains("{{") || line.contains("@st") {
                    let series =
                        line.split("{{").next().unwrap_or_default().split("@st").next().unwrap_or_default();
                    let series = series[..series_end(series)].trim();
                    unsupported.push(labels(series).map_err(|error| error.to_string())?);
                    continue;
                }
                let described = described(line).map_err(|error| error.to_string())?;
                if word == "load_with_nhcb" {
                    unsupported.extend(histogram_of(&described.0));
                }
                series.push(described);
            }
            Ok(Kind::Load { step, series, unsupported })
        }
        _ if word.starts_with("eval") => eval(word, rest.trim(), block).map(Kind::Eval),
        _ => Err(format!("unknown command {word:?}")),
    }
}

fn eval(word: &str, rest: &str, block: &[&str]) -> Result<Eval, String> {
    let mut words = rest.splitn(3, char::is_whitespace);
    let (time, query) = match (words.next(), words.next()) {
        (Some("instant"), Some("at")) => {
            let (at, query) =
                words.next().unwrap_or_default().trim().split_once(char::is_whitespace).ok_or("no query")?;
            (Time::At(millis(at)?), query)
        }
        (Some("range"), Some("from")) => {
            let parts: Vec<&str> = words.next().unwrap_or_default().splitn(6, char::is_whitespace).collect();
            let [start, "to", end, "step", step, query] = parts[..] else {
                return Err("expected a range".to_owned());
            };
            (Time::Range { start_ms: millis(start)?, end_ms: millis(end)?, step: duration(step)? }, query)
        }
        _ => return Err(format!("expected \"instant at\" or \"range from\", found {rest:?}")),
    };
    let mut eval = Eval {
        query: query.trim().to_owned(),
        time,
        fails: word == "eval_fail",
        ordered: word == "eval_ordered",
        expected: Expected::Series(Vec::new()),
    };
    let mut series = Vec::new();
    for line in block {
        if let Some(expectation) = line.strip_prefix("expect ") {
            let (kind, rest) = expectation.split_once(char::is_whitespace).unwrap_or((expectation, ""));
            match kind {
                "fail" => eval.fails = true,
                "ordered" => eval.ordered = true,
                "warn" | "no_warn" | "info" | "no_info" => {}
                "string" => eval.expected = Expected::Text(unquote(rest)?),
                _ => eval.expected = Expected::Unsupported(expectation.to_owned()),
            }
        } else if line.starts_with("expected_fail_") {
            eval.fails = true;
        } else if line.contains("{{") {
            eval.expected = Expected::Unsupported("native histograms".to_owned());
        } else if let (Ok(value), true) = (number(line), series.is_empty()) {
            eval.expected = Expected::Scalar(value);
        } else {
            series.push(described(line).map_err(|error| error.to_string())?);
        }
    }
    if !series.is_empty() {
        eval.expected = Expected::Series(series);
    }
    Ok(eval)
}

/// The native histogram that `load_with_nhcb` makes of a bucket and its like.
fn histogram_of(bucket: &Labels) -> Option<Labels> {
    let name = bucket.value(METRIC_NAME)?.strip_suffix("_bucket")?;
    let others = bucket.iter().filter(|(label, _)| !matches!(*label, METRIC_NAME | "le"));
    Some(Labels::from_pairs(others.chain([(METRIC_NAME, name)])))
}

fn duration(text: &str) -> Result<Duration, String> {
    let millis = millis(text)?;
    u64::try_from(millis)
        .map(Duration::from_millis)
        .map_err(|_| format!("expected a duration, found {text:?}"))
}

fn millis(text: &str) -> Result<i64, String> {
    let refuse = || format!("expected a duration, found {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if let Ok(seconds) = rest.parse::<f64>() {
        return Ok(sign * (seconds * 1000.0).round() as i64);
    }
    let mut total = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let number: i64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "y" => 31_536_000_000,
            _ => return Err(refuse()),
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    Ok(sign * total)
}

fn unquote(text: &str) -> Result<String, String> {
    match promql::parse(text) {
        Ok(Expr::StringLiteral(literal)) => Ok(literal.val),
        _ => Err(format!("expected a quoted text, found {text:?}")),
    }
}
