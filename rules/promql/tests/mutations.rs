//! Expressions that are nearly right. None may panic, and `scripts/test promql` shows each verdict to Prometheus' own
//! parser.
//!
//! More of them: `PROMQL_MUTATIONS=1000000 cargo test -p promql --test mutations`, or the fuzz target `promql`.

use std::fmt::Write as _;

use promql::{ParseError, parse};

#[test]
fn no_mutation_of_an_expression_panics() {
    let count = std::env::var("PROMQL_MUTATIONS").map_or(30_000, |count| count.parse().expect("a count"));
    let seeds: Vec<String> = include_str!("expressions.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("## ") && !line.starts_with("== "))
        .map(|line| line.replace('␤', "\n"))
        .collect();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut verdicts = String::new();
    let (mut accepted, mut refused, mut unsupported) = (0, 0, 0);
    for _ in 0..count {
        let text = mutation(&seeds, &mut chance);
        let verdict = match parse(&text) {
            // A tree has a text of its own, whose walk is a walk of all of it.
            Ok(tree) => {
                accepted += 1;
                assert!(!tree.to_string().is_empty() || text.contains("info"), "{text:?}");
                "accepted"
            }
            Err(ParseError::Invalid { position, .. }) => {
                refused += 1;
                assert!(position.line <= 1 + text.matches('\n').count(), "{text:?}");
                "refused"
            }
            Err(ParseError::Unsupported { .. }) => {
                unsupported += 1;
                "unsupported"
            }
        };
        writeln!(verdicts, "{verdict} {}", text.replace('\n', "␤")).expect("a string");
    }
    println!("{accepted} accepted, {refused} refused, {unsupported} unsupported");
    if let Some(path) = std::env::var_os("PROMQL_VERDICTS") {
        std::fs::write(path, verdicts).expect("a file for the verdicts");
    }
    assert!(
        accepted > count / 20 && refused > count / 20 && unsupported > count / 200,
        "{accepted}, {refused}"
    );
}

/// One or two changes to an expression: a part left out, written twice, taken from another, or made extreme.
fn mutation(seeds: &[String], chance: &mut Chance) -> String {
    let mut words = words(chance.of::<String>(seeds));
    for _ in 0..=chance.below(2) {
        let other = self::words(chance.of::<String>(seeds));
        let (from, to) = (chance.below(words.len() + 1), chance.below(words.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        let one = from..words.len().min(from + 1);
        match chance.below(7) {
            0 => drop(words.drain(one)),
            1 => drop(words.splice(from..from, words[from..to].to_vec())),
            2 => drop(words.splice(one, [chance.of(&other).clone()])),
            3 => drop(words.splice(from..from, [chance.of(&other).clone()])),
            4 => drop(words.splice(one, [chance.of(&EXTREMES).to_string()])),
            5 => drop(words.splice(from..to, other)),
            // A character within a word.
            _ => {
                if let Some(word) = words.get_mut(from) {
                    let mut characters: Vec<char> = word.chars().collect();
                    let place = chance.below(characters.len() + 1);
                    if chance.below(2) == 0 {
                        characters.truncate(place);
                    } else {
                        characters.insert(place, *chance.of(&CHARACTERS));
                    }
                    *word = characters.into_iter().collect();
                }
            }
        }
        if words.is_empty() {
            words.push("m".to_owned());
        }
    }
    words.concat()
}

/// The text in parts of letters and digits, and single other characters.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for character in text.chars() {
        let is_word = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':' | '.');
        match words.last_mut() {
            Some(last) if is_word(character) && last.chars().all(is_word) => last.push(character),
            _ => words.push(character.to_string()),
        }
    }
    words
}

/// Xorshift: the same mutations on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const EXTREMES: [&str; 26] = [
    "0",
    "-1",
    "1e30",
    "1e400",
    "1e-400",
    "99999999999999999999",
    "9223372036854775807",
    "0x1f",
    "017",
    "08",
    "1_000",
    "1__0",
    ".5",
    "5.",
    "Inf",
    "NaN",
    "0s",
    "292y",
    "400y",
    "5m1h",
    "1e5m",
    "9223372036.854775",
    "1e-10",
    "step()",
    "(5m)",
    "-5m",
];

const CHARACTERS: [char; 34] = [
    '(', ')', '{', '}', '[', ']', ',', ':', '@', '=', '!', '~', '<', '>', '/', '*', '+', '-', '^', '%', '"',
    '\'', '`', '\\', '#', '\n', ' ', '_', '.', '0', 'e', 'x', 's', 'é',
];
