//! `ecowatt completions`: scripts that let a shell complete verbs and options.

use std::io::{self, Write as _};

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

/// Print a script that completes verbs and options in a shell.
///
/// For bash: `ecowatt completions bash > /etc/bash_completion.d/ecowatt`. docs/operating.md has the
/// other shells.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: ShellArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ShellArg {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script that completes `command`.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn run(args: &CompletionsArgs, command: &Command) -> anyhow::Result<()> {
    let shell = match args.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut visible(command), command.get_name(), &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}

/// The command without its hidden arguments: the script for bash would offer them.
fn visible(command: &Command) -> Command {
    // Names live as long as the process, which ends when the script is printed.
    let name: &'static str = command.get_name().to_owned().leak();
    let mut seen = Command::new(name)
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().map(visible));
    if let Some(about) = command.get_about() {
        seen = seen.about(about.clone());
    }
    seen
}
