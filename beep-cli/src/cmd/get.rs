//! `get`: writes out a recording, bit for bit as it was received.

use super::{Context, Site};
use crate::failure::{Failure, Outcome, Result};
use crate::local::Missing;
use crate::time;
use beep_core::bite::{BiteKey, Label};
use beep_core::clock::Millis;
use beep_core::id::ConversationId;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

const EXAMPLE: &str = "Example:\n  beep-cli get c-0123 1700000000000 | mpv -";

/// Write out a recording, exactly as it was received.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The conversation
    #[arg(value_name = "C")]
    conversation: ConversationId,
    /// The start of the recording
    #[arg(value_name = "START", value_parser = time::parse)]
    start: Millis,
    /// Write to this file; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,
}

/// Writes it.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::usage("a recording on a terminal is no use")
            .hint("say -o FILE, or pipe it into a player: `beep-cli get C START | mpv -`"));
    }
    match context.open(Missing::Refuse).await? {
        Site::Local(stores) => {
            let key = BiteKey::new(Label::Bite, args.conversation.clone(), args.start);
            let bite = stores.bites.get(&key).await?.ok_or_else(|| none(args))?;
            let mut sink = Sink::open(&args.output)?;
            sink.write(&bite.body)?;
            sink.close()?;
        }
        Site::Remote(remote) => {
            let start = args.start.to_string();
            let path = ["store", "bite", args.conversation.as_str(), "start", &start];
            let mut answer = remote.get(&path).any().ok().await?;
            let mut sink = Sink::open(&args.output)?;
            let broke_off = |e: reqwest::Error| {
                Failure::new("unavailable", "the recording broke off")
                    .because(&e)
                    .hint("what was written of it is incomplete: get it again")
            };
            while let Some(chunk) = answer.chunk().await.map_err(broke_off)? {
                sink.write(&chunk)?;
            }
            sink.close()?;
        }
    }
    Ok(Outcome::Done)
}

fn none(args: &Args) -> Failure {
    Failure::not_found(format!("no recording in {} starts at {}", args.conversation, args.start))
        .hint(format!("`beep-cli scan {}` lists those there are", args.conversation))
}

/// Standard output or a file.
enum Sink<'a> {
    Stdout,
    File(File, &'a Path),
}

impl<'a> Sink<'a> {
    /// Opened only when there is something to write: a recording that is not there leaves no empty file behind.
    fn open(path: &'a Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        File::create(path).map(|file| Self::File(file, path)).map_err(|e| Failure::io("write", path, &e))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Stdout => io::stdout().write_all(bytes).map_err(|e| Failure::output(&e)),
            Self::File(file, path) => file.write_all(bytes).map_err(|e| Failure::io("write", path, &e)),
        }
    }

    fn close(self) -> Result<()> {
        match self {
            Self::Stdout => io::stdout().flush().map_err(|e| Failure::output(&e)),
            // Errors that the system held back until now.
            Self::File(file, path) => file.sync_all().map_err(|e| Failure::io("write", path, &e)),
        }
    }
}
