//! `key`: the keys that sign tokens: shown, replaced, and removed when nobody has a token of theirs any more.

use super::Context;
use crate::failure::{Outcome, Result};
use beep_core::auth::jwt::{JwtConfig, SigningKey};
use beep_core::clock::System;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const ROTATE: &str = "\
The new key signs from now on, and the ones before it still verify: nobody has to sign in again. A server that runs
notices within a second or two. When the last token of an old key has ended, `key prune` removes it. Where a key was
stolen, remove its file instead of waiting: its tokens are dead then.

Example:
  beep-cli key rotate";

/// What to do with keys.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Show the keys, the one that signs first
    List,
    /// Make a new key that signs from now on
    #[command(after_help = ROTATE)]
    Rotate,
    /// Remove the keys whose last token has ended
    Prune(PruneArgs),
}

/// Remove the keys whose last token has ended.
#[derive(clap::Args)]
pub struct PruneArgs {
    /// How long tokens are good: the server's `auth.token_hours`
    #[arg(long, value_name = "H", env = "BEEP_AUTH_TOKEN_HOURS", default_value_t = 720)]
    hours: u64,
}

/// Works on the files alone.
pub async fn run(command: Command, context: &Context) -> Result<Outcome> {
    let (data, out) = (context.data("key")?, &context.out);
    // A mistyped path must not get keys; without any there, `list` and `prune` have nothing to look at.
    let there = data.path().is_dir();
    match command {
        _ if !there => return Err(crate::local::no_directory(data)),
        Command::List => {
            for (n, (file, key)) in data.stored_keys()?.iter().enumerate() {
                if out.json() {
                    out.object(&shown(file, key, n == 0))?;
                } else {
                    let does = if n == 0 { "signs" } else { "verifies" };
                    out.line(&format!(
                        "{}  {:5}  {does:8}  {}",
                        key.kid(),
                        key.algorithm().as_str(),
                        file.display()
                    ))?;
                }
            }
        }
        Command::Rotate => {
            let (file, key) = data.rotate_key()?;
            out.made(key.kid(), &shown(&file, &key, true))?;
        }
        Command::Prune(args) => {
            let lifetime = Duration::from_secs(args.hours.saturating_mul(3_600));
            let config = JwtConfig { lifetime, ..JwtConfig::default() };
            for file in data.prune_keys(&config, &System)? {
                let file = file.display().to_string();
                out.made(&file, &json!({ "removed": file }))?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn shown(file: &Path, key: &SigningKey, signs: bool) -> serde_json::Value {
    // A name that is no text is shown as well as it can be.
    json!({ "kid": key.kid(), "alg": key.algorithm(), "signs": signs, "file": file.display().to_string() })
}
