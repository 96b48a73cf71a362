//! `import`: takes over what the original of 2019 kept.

use super::Context;
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Missing};
use crate::output::{clean, size};
use beep_core::clock::{Clock as _, System};
use beep_core::id::{DeviceId, Identity, UserId};
use beep_pipeline::import::{Imported, import_bites, import_people, unknown_author};
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

const ABOUT: &str = "\
People come from a plain `pg_dump` of the original's database, recordings from a `badger backup` of its
store; together, people come first. A file that is not whole changes nothing. Ids, starts and bytes stay
as they were. The first member of a conversation becomes its owner.

What cannot be taken over is named on stdout with a reason, and then the exit code is 1. Importing again
changes nothing, and goes on with what was interrupted.

Example:
  pg_dump core > core.sql && badger backup --dir /data/store -f store.bak
  beep-cli import --people core.sql --recordings store.bak";

/// Take over the data of the original of 2019
#[derive(clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// A plain dump of its Postgres
    #[arg(long, value_name = "F.sql", required_unless_present = "recordings")]
    people: Option<PathBuf>,
    /// A backup of its badger
    #[arg(long, value_name = "F.bak")]
    recordings: Option<PathBuf>,
    /// Whose the recordings become; the original kept no author [default: a user nobody signs in as]
    #[arg(long, value_name = "U", requires = "recordings")]
    author: Option<UserId>,
}

/// Takes it over.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let out = &context.out;
    let data = context.data("import")?;
    let open = |path: &Path| File::open(path).map_err(|e| Failure::io("read", path, &e));
    let people = args.people.as_deref().map(open).transpose()?;
    let recordings = args.recordings.as_deref().map(open).transpose()?;
    let stores = local::open(data, Missing::Make).await?;
    let mut done = Imported::default();
    if let Some(file) = people {
        let bar = out.bar("people", None);
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        done = import_people(&*stores.directory, &mut BufReader::new(file)).await?;
        bar.finish_and_clear();
    }
    if let Some(mut file) = recordings {
        let author = match &args.author {
            Some(user) => {
                local::user(&stores, user).await?;
                Identity { user: user.clone(), device: DeviceId::parse("original")? }
            }
            None => unknown_author()?,
        };
        let bar = out.bar("recordings", None);
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        let more = import_bites(&stores, &mut file, &author, System.now()).await?;
        bar.finish_and_clear();
        (done.bites, done.attachments, done.bytes) = (more.bites, more.attachments, more.bytes);
        done.already += more.already;
        done.skipped.extend(more.skipped);
    }
    for skipped in &done.skipped {
        if out.json() {
            out.object(&json!({ "type": "skipped", "what": skipped.what, "reason": skipped.reason }))?;
        } else {
            out.line(&format!("skipped {}: {}", clean(&skipped.what), clean(&skipped.reason)))?;
        }
    }
    if out.json() {
        out.object(&json!({
            "type": "summary", "users": done.users, "conversations": done.conversations, "members": done.members,
            "contacts": done.contacts, "recordings": done.bites, "attachments": done.attachments,
            "bytes": done.bytes, "already_there": done.already, "skipped": done.skipped.len(),
        }))?;
    }
    out.say(&format!(
        "{} users, {} conversations, {} contacts, {} recordings ({}); {} there already, {} skipped",
        done.users,
        done.conversations,
        done.contacts,
        done.bites,
        size(done.bytes),
        done.already,
        done.skipped.len()
    ))?;
    Ok(if done.skipped.is_empty() { Outcome::Done } else { Outcome::Incomplete })
}
