//! Regular expressions against what Go's `regexp` made of them, case by case. A Go test holds the cases up to Go, and
//! `scripts/regexps` writes and checks as many others as one likes.

use std::fmt::Write;
use std::path::PathBuf;

use promql::regexp::{self, Regexp};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    pattern: String,
    #[serde(default)]
    refused: bool,
    #[serde(default)]
    groups: usize,
    #[serde(default)]
    template: String,
    #[serde(default)]
    subjects: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    text: String,
    /// The whole match and each group; none without a match.
    found: Option<Vec<Option<String>>>,
    #[serde(default)]
    expanded: String,
    /// Whether a matcher of this pattern matches.
    #[serde(default)]
    whole: bool,
}

#[test]
fn patterns_mean_what_go_makes_of_them() {
    let file = std::env::var_os("REGEXP_FILE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/regexp/cases.jsonl"),
        PathBuf::from,
    );
    let cases = std::fs::read_to_string(&file).expect("a file of cases");
    let (mut compared, mut texts, mut matches, mut refused) = (0, 0, 0, 0);
    let (mut refused_here, mut unexplained) = (0, String::new());
    for line in cases.lines() {
        let case: Case = serde_json::from_str(line).expect("a case");
        compared += 1;
        texts += case.subjects.len();
        matches += case.subjects.iter().filter(|subject| subject.found.is_some()).count();
        refused += usize::from(case.refused);
        match check(&case) {
            Ok(()) => {}
            // Go itself is not sure what it means.
            Err(difference) if difference.contains("a half of a UTF-16 pair") => refused_here += 1,
            Err(difference) => writeln!(unexplained, "{:?}: {difference}", case.pattern).expect("a string"),
        }
    }
    let differing = unexplained.lines().count();
    println!(
        "{compared} patterns compared: {} equal ({texts} texts, {matches} matches), {refused} refused by both, \
         {refused_here} refused here for halves of UTF-16 pairs, {differing} unexplained",
        compared - refused - refused_here - differing
    );
    assert!(compared > 0, "no case in {}", file.display());
    assert!(unexplained.is_empty(), "{unexplained}");
}

fn check(case: &Case) -> Result<(), String> {
    let pattern = match regexp::compile(&case.pattern) {
        Ok(_) if case.refused => return Err("taken, Go refuses it".to_owned()),
        Ok(pattern) => pattern,
        Err(_) if case.refused => return Ok(()),
        Err(error) => return Err(format!("Go takes it: {error}")),
    };
    let whole = regexp::compile_matcher(&case.pattern).map_err(|error| format!("as a matcher: {error}"))?;
    equal("groups", &pattern.group_count(), &case.groups)?;
    for subject in &case.subjects {
        let text = &subject.text;
        equal(&format!("match of {text:?}"), &pattern.is_match(text), &subject.found.is_some())?;
        equal(&format!("match of the whole of {text:?}"), &whole.is_match(text), &subject.whole)?;
        let (found, expanded) = search(&pattern, text, &case.template);
        equal(&format!("groups in {text:?}"), &found, &subject.found)?;
        equal(&format!("{:?} from {text:?}", case.template), &expanded, &subject.expanded)?;
    }
    Ok(())
}

fn search(pattern: &Regexp, text: &str, template: &str) -> (Option<Vec<Option<String>>>, String) {
    let Some(captures) = pattern.captures(text) else { return (None, String::new()) };
    let groups = (0..=pattern.group_count()).map(|group| captures.get(group).map(str::to_owned)).collect();
    (Some(groups), captures.expand(template))
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: Go has {expected:?}, found {found:?}")) }
}
