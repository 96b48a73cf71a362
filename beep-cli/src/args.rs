//! The command line: what may be said everywhere, the commands, and where they are to work.

use crate::cmd::Command;
use crate::failure::Failure;
use crate::output::Output;
use beep_storage::DataDir;
use clap::error::ErrorKind as ClapError;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Without --server, commands open the data directory itself, also beside a running server.
With --server they ask that server over HTTP.

Times are milliseconds since 1970, RFC 3339 (2026-11-23T09:00:00Z), or like `2h ago`.

Exit codes: 0 done; 1 failed, also when only some of it failed; 2 wrong usage; 130 interrupted.
More codes may be added. NO_COLOR turns colours off.

Example, from nothing to a searchable recording:
  alice=$(beep-cli user create --phone '+65 9999 9999' --first Alice)
  crew=$(beep-cli conversation create --title Crew --member $alice)
  beep-cli ingest recordings/ --conversation $crew
  beep-cli speech install && beep-cli transcribe
  beep-cli search help";

/// Voice messages from the command line.
#[derive(Parser)]
#[command(name = "beep-cli", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    /// What may be said everywhere.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What may be said everywhere.
#[derive(clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Work on this data directory [default: $XDG_DATA_HOME/beep, else ~/.local/share/beep]
    #[arg(long, global = true, value_name = "D", env = "BEEP_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Ask this server instead
    #[arg(long, global = true, value_name = "URL", env = "BEEP_SERVER", hide_env_values = true)]
    pub server: Option<String>,
    /// The token for the server; better in the environment, where other users do not see it
    #[arg(long, global = true, value_name = "T", env = "BEEP_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// JSON lines on stdout, warnings and errors as JSON lines on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice, much more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Where commands are to work.
pub enum Where {
    /// On the files of an installation.
    Data(DataDir),
    /// At a server, with a token.
    Server {
        /// Its address.
        url: String,
        /// Who we are there.
        token: Option<String>,
    },
}

/// The command line of this process. What could not be read, and help, is printed; then only the exit code is left.
pub fn parse() -> Result<(Cli, Where), ExitCode> {
    let read = || -> Result<_, clap::Error> {
        let matches = Cli::command().try_get_matches()?;
        let cli = Cli::from_arg_matches(&matches)?;
        let place = place(&matches, &cli.global)?;
        Ok((cli, place))
    };
    read().map_err(|e| refuse(&e))
}

/// A flag wins over the environment; two of the same rank contradict each other.
fn place(matches: &ArgMatches, global: &Global) -> Result<Where, clap::Error> {
    let flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
    let conflict = |text: &str| Cli::command().error(ClapError::ArgumentConflict, text);
    match (&global.data_dir, &global.server) {
        (Some(_), Some(_)) if flag("data_dir") && flag("server") => {
            Err(conflict("--data-dir and --server cannot be used together"))
        }
        (Some(_), Some(_)) if !flag("data_dir") && !flag("server") => {
            Err(conflict("BEEP_DATA_DIR and BEEP_SERVER are both set: say --data-dir or --server"))
        }
        (Some(dir), server) if flag("data_dir") || server.is_none() => {
            if flag("token") {
                return Err(conflict("--token goes with --server, not with --data-dir"));
            }
            local(DataDir::new(dir))
        }
        (_, Some(url)) => Ok(Where::Server { url: url.clone(), token: global.token.clone() }),
        (_, None) if flag("token") => Err(conflict("--token goes with --server")),
        (_, None) => local(DataDir::default_location()),
    }
}

/// Stores are named by URLs, which are text: another name would be another directory on the way.
fn local(data: DataDir) -> Result<Where, clap::Error> {
    if data.path().to_str().is_none() {
        let text = "the name of the data directory must be valid UTF-8: choose another one";
        return Err(Cli::command().error(ClapError::InvalidUtf8, text));
    }
    Ok(Where::Data(data))
}

fn refuse(e: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().take_while(|a| a != "--").any(|a| a == "--json");
    if e.use_stderr() && wants_json && e.kind() != ClapError::DisplayHelpOnMissingArgumentOrSubcommand {
        let text = e.render().to_string();
        let text = text.trim_start_matches("error: ");
        let what: Vec<_> = text.lines().take_while(|l| !l.is_empty()).map(str::trim).collect();
        Output::new(true, false, 0).error(&Failure::usage(what.join(" ")));
        return ExitCode::from(2);
    }
    match e.print() {
        Ok(()) => ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2)),
        // Nobody reads it.
        Err(_) => ExitCode::SUCCESS,
    }
}
