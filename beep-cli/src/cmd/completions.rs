//! `completions`: the completion script of a shell, from the same definitions as the help.

use super::Context;
use crate::args::Cli;
use crate::failure::{Outcome, Result};
use clap::CommandFactory;
use clap_complete::Shell;

/// Print the completion script of a shell.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The shell
    shell: Shell,
}

const EXAMPLE: &str = "Example:
  beep-cli completions bash > ~/.local/share/bash-completion/completions/beep-cli";

/// Prints it.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "beep-cli", &mut script);
    context.out.bytes(&script)?;
    Ok(Outcome::Done)
}
