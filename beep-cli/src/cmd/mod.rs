//! The commands, one file each: its arguments and what it does.

mod completions;
mod confirm;
mod contact;
mod conversation;
mod erase;
mod export;
mod get;
mod import;
mod ingest;
mod key;
mod migrate;
mod recogniser;
mod scan;
mod search;
mod session;
mod speech;
mod token;
mod transcribe;
mod transcript;
mod user;
mod verify;

use crate::args::Where;
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Missing};
use crate::output::Output;
use crate::remote::Remote;
use beep_core::id::UserId;
use beep_core::store::Stores;
use beep_storage::DataDir;

/// What to do.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Print a token for a user on a device
    Token(token::Args),
    /// Make, show, change and erase users
    #[command(subcommand, arg_required_else_help = true)]
    User(user::Command),
    /// Make, show, change and end conversations, and their members
    #[command(subcommand, arg_required_else_help = true)]
    Conversation(conversation::Command),
    /// Add, list and remove the contacts of a user
    #[command(subcommand, arg_required_else_help = true)]
    Contact(contact::Command),
    /// List and end the sessions of a user
    #[command(subcommand, arg_required_else_help = true)]
    Session(session::Command),
    /// Write everything that is kept about a user to a zip file or a folder
    Export(export::Args),
    /// Erase a user with everything that they recorded
    Erase(erase::Args),
    /// Move a whole installation to other stores
    Migrate(migrate::Args),
    /// Take over the data of the original of 2019
    Import(import::Args),
    /// Show and replace the keys that sign tokens
    #[command(subcommand, arg_required_else_help = true)]
    Key(key::Command),
    /// Store recordings in a conversation
    Ingest(ingest::Args),
    /// List the recordings of a conversation
    Scan(scan::Args),
    /// Write out a recording, exactly as it was received
    Get(get::Args),
    /// Print what was said, as text
    Transcript(transcript::Args),
    /// Find recordings by the words in them
    Search(search::Args),
    /// Transcribe everything that waits for it, then end
    Transcribe(transcribe::Args),
    /// Read every record and name the damaged ones
    Verify(verify::Args),
    /// Install speech recognition and add models
    #[command(subcommand, arg_required_else_help = true)]
    Speech(speech::Command),
    /// Print the completion script of a shell
    Completions(completions::Args),
}

/// What every command is given.
pub struct Context {
    /// Where to work.
    pub place: Where,
    /// How to talk.
    pub out: Output,
}

/// Something open to work on.
pub enum Site {
    /// Stores on this machine.
    Local(Stores),
    /// A server.
    Remote(Remote),
}

impl Context {
    /// The data directory, for commands that have no other form.
    pub fn data(&self, command: &str) -> Result<&DataDir> {
        match &self.place {
            Where::Data(data) => Ok(data),
            Where::Server { .. } => {
                Err(Failure::usage(format!("`{command}` works on a data directory only"))
                    .hint("say --data-dir D, on the machine where it is"))
            }
        }
    }

    /// The stores of the data directory, for commands that have no other form.
    pub async fn stores(&self, command: &str) -> Result<Stores> {
        local::open(self.data(command)?, Missing::Refuse).await
    }

    /// Stores or server, whichever was asked for.
    pub async fn open(&self, missing: Missing) -> Result<Site> {
        match &self.place {
            Where::Data(data) => Ok(Site::Local(local::open(data, missing).await?)),
            Where::Server { url, token } => Ok(Site::Remote(Remote::new(url, token.clone())?)),
        }
    }

    /// Stores or server for what is this user's own: they are in the directory, or the token is theirs.
    pub async fn open_for(&self, user: &UserId) -> Result<Site> {
        let site = self.open(Missing::Refuse).await?;
        match &site {
            Site::Local(stores) => drop(local::user(stores, user).await?),
            Site::Remote(remote) => remote.must_be(user).await?,
        }
        Ok(site)
    }
}

/// Runs the command to its end.
pub async fn run(command: Command, context: Context) -> Result<Outcome> {
    match command {
        Command::Token(args) => token::run(&args, &context).await,
        Command::User(command) => user::run(command, &context).await,
        Command::Conversation(command) => conversation::run(command, &context).await,
        Command::Contact(command) => contact::run(command, &context).await,
        Command::Session(command) => session::run(command, &context).await,
        Command::Export(args) => export::run(&args, &context).await,
        Command::Erase(args) => erase::run(&args, &context).await,
        Command::Migrate(args) => migrate::run(&args, &context).await,
        Command::Import(args) => import::run(&args, &context).await,
        Command::Key(command) => key::run(command, &context).await,
        Command::Ingest(args) => ingest::run(args, &context).await,
        Command::Scan(args) => scan::run(&args, &context).await,
        Command::Get(args) => get::run(&args, &context).await,
        Command::Transcript(args) => transcript::run(&args, &context).await,
        Command::Search(args) => search::run(&args, &context).await,
        Command::Transcribe(args) => transcribe::run(&args, &context).await,
        Command::Verify(args) => verify::run(&args, &context).await,
        Command::Speech(command) => speech::run(command, &context).await,
        Command::Completions(args) => completions::run(&args, &context),
    }
}
