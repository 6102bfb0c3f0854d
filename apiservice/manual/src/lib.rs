//! What is made of a program's flags besides `--help`: completion for shells, and pages of the manual.

use clap::{Command, ValueEnum};
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

/// The page of the manual, as `man` reads it, of a program or of one of its commands.
///
/// # Errors
/// The program has no such command.
pub fn page(mut program: Command, command: Option<&str>) -> Result<String, UnknownCommand> {
    // Gives each command its whole name, such as adapter-check.
    program.build();
    if let Some(name) = command {
        let names: Vec<&str> = program.get_subcommands().map(Command::get_name).collect();
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
    use clap::Arg;

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
        for part in [r"\fB\-\-rate\-limit\fR", "Requests a second.", r"server\-check(1)"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn a_commands_page_has_its_whole_name() {
        let page = page(program(), Some("check")).unwrap();
        assert!(page.contains(".TH server-check 1"), "{page}");
        assert!(page.contains("The file."), "{page}");
    }

    #[test]
    fn an_unknown_command_is_refused_with_the_names_of_all() {
        let error = page(program(), Some("chekc")).unwrap_err();
        assert_eq!(error.to_string(), r#"man: expected one of the commands check, found "chekc""#);
    }
}
