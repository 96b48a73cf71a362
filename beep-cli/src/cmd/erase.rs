//! `erase`: ends an account, with everything that its user recorded.

use super::confirm::agreed;
use super::{Context, Site};
use crate::failure::{Outcome, Result};
use crate::local::{self, Recordings};
use beep_core::id::UserId;
use beep_core::store::Stores;
use reqwest::Method;
use serde_json::{Value, json};

const ABOUT: &str = "\
Gone is what they recorded, everywhere, with transcripts and search entries; their files, contacts and
sessions; the conversations in which they were alone; then the account. Where they were the last owner,
the highest of the others becomes owner. What was interrupted goes on when it is said again.

Example:
  beep-cli export u-0123 -o u-0123.zip && beep-cli erase u-0123 --yes";

/// Erase a user with everything that they recorded.
#[derive(clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// The user; at a server, the token's own
    #[arg(value_name = "U")]
    user: UserId,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Erases them.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let user = &args.user;
    let erased = match context.open_for(user).await? {
        Site::Local(stores) => here(&stores, args, context).await?,
        Site::Remote(remote) => {
            agreed(args.yes, &format!("the account {user} and all that they recorded")).await?;
            remote.request(Method::DELETE, &["core", "user"]).ok().await?;
            json!({ "user": user })
        }
    };
    if context.out.json() {
        context.out.object(&erased)?;
    }
    context.out.progress(&format!("erased {user}"));
    Ok(Outcome::Done)
}

async fn here(stores: &Stores, args: &Args, context: &Context) -> Result<Value> {
    let user = &args.user;
    let Recordings { keys, damaged } = local::recordings(stores, user, &context.out).await?;
    let files = stores.blobs.owned_by(user).await?.len();
    let loss = format!("the account {user} with {} recordings and {files} files", keys.len());
    agreed(args.yes, &loss).await?;
    let sums = json!({
        "user": user,
        "recordings": keys.len(),
        "files": files,
        "conversations": stores.directory.memberships(user).await?.len(),
        "contacts": stores.directory.contacts(user).await?.len(),
        "sessions": stores.directory.sessions(user).await?.len(),
    });
    let bar = context.out.bar("erasing", None);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let erased = local::erase(stores, user).await;
    bar.finish_and_clear();
    erased?;
    if damaged > 0 {
        context.out.warn(&format!(
            "{damaged} damaged recordings, of which nobody knows whose they are, were left: `beep-cli verify` names them"
        ));
    }
    Ok(sums)
}
