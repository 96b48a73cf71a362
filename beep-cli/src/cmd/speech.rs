//! `speech`: installs the recogniser, adds models, lists them.

use super::{Context, recogniser};
use crate::failure::{Failure, Outcome, Result};
use std::path::PathBuf;

/// Install speech recognition and add models.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Install libvosk and the bundled model (digits and a few commands, in English); needs pip once
    Install,
    /// Add a Vosk model of your own language from its folder or .zip file
    #[command(after_help = "Example:\n  beep-cli speech add vosk-model-small-de-0.15.zip")]
    Add {
        /// The folder or .zip file
        #[arg(value_name = "DIR|ZIP")]
        path: PathBuf,
    },
    /// List the models
    List,
}

/// Runs one of them.
pub async fn run(command: Command, context: &Context) -> Result<Outcome> {
    let speech = context.data("speech")?.speech();
    let out = context.out.clone();
    let done = tokio::task::spawn_blocking(move || recogniser::speech(speech, command, &out)).await;
    done.map_err(|e| Failure::new("internal", "it broke off").because(&e))??;
    Ok(Outcome::Done)
}
