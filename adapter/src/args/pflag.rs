//! Arguments as Go's pflag reads them, turned into those that clap reads: flags as `--name=value` or alone, and no
//! words.
//!
//! | given | meant |
//! |---|---|
//! | `--a_b` | `--a-b` |
//! | `--x y`, `-v 4`, `-v=4`, `-v4` | `--x=y`, `--v=4` |
//! | `--x=` | unset, earlier ones included; no entries, for a list |
//! | `--switch`, `--switch=T` | true |
//! | a word that belongs to no flag | ignored with a warning, but for a command in front of all flags |

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::iter::{Enumerate, Peekable};

use clap::{ArgAction, Command};

use super::upstream;

/// The arguments for clap, the program's name first, and what to say of those left out.
pub(super) fn normalise(
    program: Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> (Vec<OsString>, Vec<String>) {
    let mut program = program;
    program.build();
    let mut arguments = arguments.into_iter().enumerate().peekable();
    // The chart passes the image's entry point, `/adapter`.
    arguments.next_if(|(_, argument)| is_word(argument) && argument.as_encoded_bytes().contains(&b'/'));
    let command = arguments.next_if(|(_, argument)| is_word(argument) && !argument.is_empty());
    let mut kept = vec![OsString::from("adapter")];
    let mut flags = Flags::of(&program);
    let mut takes_words = false;
    if let Some((_, command)) = command
        && command != "serve"
    {
        // The words after a command are its own. Clap refuses an unknown one, with a suggestion.
        takes_words = true;
        if let Some(known) = command.to_str().and_then(|name| program.find_subcommand(name)) {
            flags = Flags::of(known);
        }
        kept.push(command);
    }
    let commands = program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let mut reading = Reading { flags, commands, takes_words, kept, notices: Vec::new(), before: None };
    while let Some((position, argument)) = arguments.next() {
        reading.take(position + 1, argument, &mut arguments);
    }
    (reading.kept, reading.notices)
}

fn is_word(argument: &OsStr) -> bool {
    // To Go, a lone - is one too.
    !argument.as_encoded_bytes().starts_with(b"-") || argument == "-"
}

/// The flags of a command, as clap knows them.
struct Flags {
    /// By each of its long names.
    by_name: HashMap<String, Flag>,
    /// The long name of each short one.
    by_letter: HashMap<char, String>,
}

#[derive(Clone)]
struct Flag {
    /// Its first long name.
    name: String,
    takes: Takes,
    /// Its default, if it has one, as text.
    default: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// A value only after `=`.
    Switch,
    /// A value, of which the last counts.
    Value,
    /// Values that add up.
    Values,
}

impl Flags {
    fn of(command: &Command) -> Flags {
        let mut flags = Flags { by_name: HashMap::new(), by_letter: HashMap::new() };
        // `--help` and `--version` take nothing and are left as they are.
        for argument in command.get_arguments().filter(|argument| argument.get_action().takes_values()) {
            let Some(name) = argument.get_long() else { continue };
            let takes = match argument.get_action() {
                _ if argument.get_num_args().is_some_and(|count| count.min_values() == 0) => Takes::Switch,
                ArgAction::Append => Takes::Values,
                _ => Takes::Value,
            };
            let default = argument.get_default_values().iter().map(|text| text.to_string_lossy());
            let default = default.reduce(|texts, text| texts + "," + text);
            let flag = Flag { name: name.to_owned(), takes, default: default.map(Into::into) };
            for name in std::iter::once(name).chain(argument.get_all_aliases().unwrap_or_default()) {
                flags.by_name.insert(name.to_owned(), flag.clone());
            }
            if let Some(letter) = argument.get_short() {
                flags.by_letter.insert(letter, name.to_owned());
            }
        }
        flags
    }
}

/// The arguments read so far.
struct Reading {
    flags: Flags,
    /// The names of commands.
    commands: Vec<String>,
    /// Whether words belong to a command.
    takes_words: bool,
    kept: Vec<OsString>,
    notices: Vec<String>,
    /// The name of the flag read last, and whether it was a switch without a value.
    before: Option<(String, bool)>,
}

type Rest<I> = Peekable<Enumerate<I>>;

impl Reading {
    fn take(&mut self, place: usize, argument: OsString, rest: &mut Rest<impl Iterator<Item = OsString>>) {
        if is_word(&argument) {
            return self.word(place, argument);
        }
        if argument == "--" {
            for (position, argument) in rest.by_ref() {
                self.word(position + 1, argument);
            }
            return;
        }
        let Some(text) = argument.to_str() else { return self.kept.push(argument) };
        let (name, value) = if let Some(flag) = text.strip_prefix("--") {
            let (name, value) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            (name.replace('_', "-"), value)
        } else {
            let mut letters = text.chars();
            let letter = letters.nth(1).unwrap_or_default();
            let Some(name) = self.flags.by_letter.get(&letter) else { return self.kept.push(argument) };
            let value = letters.as_str();
            let value = value.strip_prefix('=').or(Some(value).filter(|value| !value.is_empty()));
            (name.clone(), value)
        };
        if let Some(ignored) = upstream::ignored(&name) {
            if ignored.takes_value && value.is_none() {
                rest.next();
            }
            self.say(format!("--{name} has no effect: {}", ignored.why));
            self.before = Some((name, !ignored.takes_value && value.is_none()));
            return;
        }
        let Some(flag) = self.flags.by_name.get(&name).cloned() else {
            // Clap refuses it, with a suggestion.
            self.kept
                .push(value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")).into());
            self.before = Some((name, false));
            return;
        };
        self.before = Some((name, flag.takes == Takes::Switch && value.is_none()));
        let value = match (flag.takes, value) {
            (Takes::Switch, None) => OsString::from("true"),
            (Takes::Switch, Some(value)) => {
                boolean(value).map_or(value, |value| if value { "true" } else { "false" }).into()
            }
            (_, Some(value)) => OsString::from(value),
            // As in Go, whatever comes next is the value.
            (_, None) => match rest.next() {
                Some((_, value)) => value,
                None => return self.kept.push(format!("--{}", flag.name).into()),
            },
        };
        self.flag(&flag, &value);
    }

    fn flag(&mut self, flag: &Flag, value: &OsStr) {
        let mut given = OsString::from(format!("--{}=", flag.name));
        if value.is_empty() {
            match (flag.takes, &flag.default) {
                // Clap refuses it for a switch. For a list it stands instead of the default, as entries that follow
                // would.
                (Takes::Switch, _) | (Takes::Values, Some(_)) => self.kept.push(given),
                (Takes::Values, None) => {}
                (Takes::Value, default) => {
                    let earlier = given.into_encoded_bytes();
                    self.kept.retain(|kept| !kept.as_encoded_bytes().starts_with(&earlier));
                    if let Some(default) = default {
                        self.say(format!("--{} is empty; using its default, {default}", flag.name));
                    }
                }
            }
            return;
        }
        given.push(value);
        self.kept.push(given);
    }

    /// Upstream ignores words. They are not repeated: one may be the end of a credential whose quotes were forgotten.
    fn word(&mut self, place: usize, word: OsString) {
        if self.takes_words {
            return self.kept.push(word);
        }
        let text = word.to_string_lossy();
        let notice = match &self.before {
            Some((switch, true)) if boolean(&text).is_some() => {
                format!("argument {place} is ignored: {text} after a switch; write --{switch}={text}")
            }
            _ if self.commands.iter().any(|command| *command == text) => {
                format!("argument {place} is ignored: the command {text} must be the first argument")
            }
            Some((flag, _)) => format!(
                "argument {place} is ignored: it follows --{flag}, and is neither a flag nor the value of one"
            ),
            None => format!("argument {place} is ignored: it is neither a flag nor the value of one"),
        };
        self.say(notice);
    }

    fn say(&mut self, notice: String) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }
}

/// Go's notations of a truth value.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
