//! Documents made of a program's flags, besides `--help`: completion for shells, pages of the manual, tables in
//! Markdown.

use clap::{Arg, Command, ValueEnum};
use clap_complete::shells;

/// A shell that completion is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// There is no command of this name.
#[derive(Debug, thiserror::Error)]
#[error("man: expected one of the commands {expected}, found {found:?}")]
pub struct UnknownCommand {
    expected: String,
    found: String,
}

/// The script that makes a shell complete a program's commands and flags.
pub fn completion(mut program: Command, shell: Shell) -> String {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut program, name, &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut program, name, &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut program, name, &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}

/// Every flag of a program as Markdown: a table for each heading of its help, in the order of the help.
pub fn flags(mut program: Command) -> String {
    // Gives each flag the name of its value.
    program.build();
    let mut tables: Vec<(&str, Vec<String>)> = Vec::new();
    for flag in program.get_arguments().filter(|flag| !flag.is_hide_set() && !flag.is_positional()) {
        let heading = flag.get_help_heading().unwrap_or("General");
        let position = tables.iter().position(|(of, _)| *of == heading).unwrap_or_else(|| {
            tables.push((heading, Vec::new()));
            tables.len() - 1
        });
        tables[position].1.push(row(flag));
    }
    let table = |(heading, rows): &(&str, Vec<String>)| {
        format!("### {heading}\n\n| Flag | Default | Meaning |\n|---|---|---|\n{}", rows.concat())
    };
    tables.iter().map(table).collect::<Vec<_>>().join("\n")
}

fn row(flag: &Arg) -> String {
    let takes_value = flag.get_action().takes_values();
    let may_be_alone = flag.get_num_args().is_some_and(|count| count.min_values() == 0);
    let value = match flag.get_value_names() {
        // A switch is given alone.
        Some([name, ..]) if takes_value && !may_be_alone => format!(" {name}"),
        _ => String::new(),
    };
    let mut names = flag.get_long().map_or_else(String::new, |name| format!("`--{name}{value}`"));
    for letter in flag.get_short_and_visible_aliases().unwrap_or_default() {
        names.extend([", `-", &letter.to_string(), &value, "`"]);
    }
    let defaults: Vec<_> = flag.get_default_values().iter().map(|text| text.to_string_lossy()).collect();
    let default = if flag.is_hide_default_value_set() || defaults.is_empty() {
        String::new()
    } else {
        format!("`{}`", defaults.join(","))
    };
    let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string).unwrap_or_default();
    let help: Vec<&str> = help.split_whitespace().collect();
    format!("| {names} | {default} | {} |\n", help.join(" ").replace('|', "\\|").replace('<', "&lt;"))
}

/// The page of the manual, as `man` reads it, of a program or of one of its commands.
///
/// # Errors
/// The program has no such command.
pub fn page(mut program: Command, command: Option<&str>) -> Result<String, UnknownCommand> {
    // Gives each command its whole name, such as adapter-check.
    program.build();
    if let Some(name) = command {
        let names: Vec<&str> = program
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(Command::get_name)
            .collect();
        let unknown = UnknownCommand { expected: names.join(", "), found: name.to_owned() };
        program = program.find_subcommand(name).ok_or(unknown)?.clone();
    }
    let mut page = Vec::new();
    // A vector takes all that is written to it.
    let _ = clap_mangen::Man::new(program).render(&mut page);
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    fn program() -> Command {
        let check = Command::new("check").about("Check a file.").arg(Arg::new("file").help("The file."));
        let flag = Arg::new("rate").long("rate-limit").help("Requests a second.");
        Command::new("server").about("Serves.").arg(flag).subcommand(check).disable_help_subcommand(true)
    }

    #[test]
    fn completion_knows_the_flags_and_commands_in_every_shell() {
        for shell in Shell::value_variants() {
            let script = completion(program(), *shell);
            assert!(script.contains("rate-limit") && script.contains("check"), "{shell:?}: {script}");
        }
    }

    #[test]
    fn the_programs_page_explains_its_flags_and_names_the_page_of_each_command() {
        let page = page(program(), None).unwrap();
        each_row([r"\fB\-\-rate\-limit\fR", "Requests a second.", r"server\-check(1)"], |part| {
            assert!(page.contains(part), "{part}: {page}");
        });
    }

    #[test]
    fn a_commands_page_has_its_whole_name() {
        let page = page(program(), Some("check")).unwrap();
        assert!(page.contains(".TH server-check 1"), "{page}");
        assert!(page.contains("The file."), "{page}");
    }

    #[test]
    fn flags_are_a_table_for_each_heading() {
        let program = program()
            .arg(
                Arg::new("file")
                    .long("file")
                    .short('f')
                    .value_name("FILE")
                    .help("A|B\nC.")
                    .default_value("x"),
            )
            .arg(Arg::new("tls").long("tls").help("Speak TLS.").help_heading("Serving").num_args(0..=1));
        let text = flags(program);
        let rows = [
            "### General\n\n| Flag | Default | Meaning |\n|---|---|---|\n",
            "| `--file FILE`, `-f FILE` | `x` | A\\|B C. |\n",
            "\n### Serving\n\n",
            "| `--tls` |  | Speak TLS. |\n",
        ];
        each_row(rows, |part| {
            assert!(text.contains(part), "{part}: {text}");
        });
    }

    #[test]
    fn an_unknown_command_is_refused_with_the_names_of_all() {
        let error = page(program(), Some("chekc")).unwrap_err();
        assert_eq!(error.to_string(), r#"man: expected one of the commands check, found "chekc""#);
    }
}
