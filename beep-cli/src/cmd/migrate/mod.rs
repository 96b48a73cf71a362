//! `migrate`: moves a whole installation between any two sets of stores, while the source is in use.

mod place;

use super::Context;
use crate::args::Where;
use crate::failure::{Failure, Outcome, Result};
use crate::output::{Output, clean, size};
use beep_core::clock::System;
use beep_pipeline::workers::{INDEX, TRANSCRIBE};
use beep_storage::migrate::{Migration, Progress, Sums, Verification, Workers, copy_keys};
use indicatif::ProgressBar;
use place::Place;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ABOUT: &str = "\
An installation is a data directory, a file ending with .toml that says `data_dir` or the URLs of its
stores in `[store]` (as the server's does), or the URL of one database that holds everything.

Users, conversations, members, contacts, sessions, pictures and every recording move as they are, with
transcripts; the search index is made anew. Values of minutes (codes, limits, presence) do not move.
Keys of tokens are copied between data directories; elsewhere it says what to copy. Speech models stay.

The source may be in use. What was interrupted goes on when it is said again. To switch over: move once,
stop the servers of the source, move again (which is short, and verifies), start servers on the target.
Subscribers begin anew there: positions of the source's log mean nothing to the target.

What the target has and is different is named on stdout and never overwritten; then, and when both sides
are not the same in the end, the exit code is 1.

Example:
  beep-cli migrate --from /srv/beep --to beep.toml";

/// Pause between two looks at a source that is followed.
const LOOK: Duration = Duration::from_millis(200);
/// How often what stands in no log is looked through then.
const SWEEP: Duration = Duration::from_secs(30);

/// Move a whole installation to other stores
#[derive(clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// The installation to move
    #[arg(long, value_name = "D|F.toml|URL")]
    from: String,
    /// Where it is to be; made if it is not there
    #[arg(long, value_name = "D|F.toml|URL")]
    to: String,
    /// Keep following the source until interrupted
    #[arg(long, conflicts_with = "verify_only")]
    follow: bool,
    /// Move nothing, only compare
    #[arg(long)]
    verify_only: bool,
}

/// Moves it.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    if matches!(context.place, Where::Server { .. }) {
        return Err(Failure::usage("`migrate` works on stores, not at a server: say only --from and --to"));
    }
    let out = &context.out;
    let (from, to) = (Place::parse(&args.from)?, Place::parse(&args.to)?);
    from.must_exist()?;
    if args.verify_only {
        to.must_exist()?;
    }
    let name = from.fingerprint();
    if name == to.fingerprint() {
        return Err(Failure::usage("--from and --to are the same installation"));
    }
    let (source, target) = (from.open().await?, to.open().await?);
    let bar = out.bar("moving", Some(0));
    let workers = Workers { transcribe: TRANSCRIBE, index: INDEX };
    let migration = Migration::new(source, target, &name, workers, Arc::new(System));
    let mut migration = migration.watched(watch(bar.clone()));
    if args.verify_only {
        let found = migration.verify().await?;
        bar.finish_and_clear();
        return report(&migration, &found, None, out);
    }
    let keys = keys(&from, &to, out).await?;
    if args.follow {
        follow(&mut migration, &bar, out).await?;
    }
    let found = migration.catch_up_and_verify().await?;
    bar.finish_and_clear();
    report(&migration, &found, Some(keys), out)
}

/// The token keys, or what to do about them; how many were copied.
async fn keys(from: &Place, to: &Place, out: &Output) -> Result<usize> {
    match (from.data.clone(), to.data.clone()) {
        (Some(from), Some(to)) => {
            // Key files are locked and synced.
            let copied = tokio::task::spawn_blocking(move || copy_keys(&from, &to)).await;
            let copied =
                copied.map_err(|e| Failure::new("internal", "copying the keys failed").because(&e))??;
            Ok(copied.len())
        }
        (Some(from), None) => {
            let keys = from.join("keys");
            out.warn(&format!(
                "the keys of tokens are files: copy {} to the data directory of every server of the target, or everybody has to sign in again",
                keys.display()
            ));
            Ok(0)
        }
        (None, _) => {
            out.warn(
                "the keys of tokens are files: copy `keys/` of the source's data directory to that of every server of the target, or everybody has to sign in again",
            );
            Ok(0)
        }
    }
}

/// Until this process is interrupted, or cannot go on.
async fn follow(migration: &mut Migration, bar: &ProgressBar, out: &Output) -> Result<()> {
    let mut named = HashSet::new();
    migration.catch_up().await?;
    if out.json() {
        out.object(&json!({ "type": "caught_up" }))?;
    }
    out.say("caught up; following until interrupted")?;
    loop {
        let swept = Instant::now();
        while swept.elapsed() < SWEEP {
            for problem in migration.problems() {
                if named.insert(problem.key.clone()) {
                    bar.suspend(|| name(&problem.key, problem.kind.code(), &problem.reason, out))?;
                }
            }
            tokio::time::sleep(LOOK).await;
            migration.step().await?;
        }
        migration.catch_up().await?;
    }
}

fn watch(bar: ProgressBar) -> impl Fn(Progress) + Send + Sync + 'static {
    move |progress| match progress {
        Progress::People(looked) => {
            bar.set_message("people");
            bar.set_length(looked);
            bar.set_position(looked);
        }
        Progress::Log(position, tail) => {
            bar.set_message("moving");
            bar.set_length(tail.max(position));
            bar.set_position(position);
        }
        Progress::Verify(compared) => {
            bar.set_message("comparing");
            bar.set_position(compared);
        }
    }
}

fn name(key: &str, code: &str, why: &str, out: &Output) -> Result<()> {
    if out.json() {
        return out.object(&json!({ "type": "problem", "key": key, "code": code, "reason": why }));
    }
    out.line(&format!("{}: {}", clean(key), clean(why)))
}

fn report(migration: &Migration, found: &Verification, keys: Option<usize>, out: &Output) -> Result<Outcome> {
    let problems = migration.problems().count();
    for problem in migration.problems() {
        name(&problem.key, problem.kind.code(), &problem.reason, out)?;
    }
    for difference in &found.differences {
        if out.json() {
            out.object(&json!({ "type": "different", "key": difference.key, "how": difference.how }))?;
        } else {
            out.line(&format!("{}: {}", clean(&difference.key), difference.how))?;
        }
    }
    if out.json() {
        for c in &found.conversations {
            let (source, target) = (sums(&c.source), sums(&c.target));
            out.object(
                &json!({ "type": "conversation", "conversation": c.id, "source": source, "target": target }),
            )?;
        }
        let moved = migration.moved();
        let (source, target) = found.records();
        out.object(&json!({
            "type": "summary",
            "moved": {
                "records": moved.records, "bytes": moved.bytes, "deleted": moved.deleted, "parked": moved.parked,
                "users": moved.users, "conversations": moved.conversations, "sessions": moved.sessions,
                "pictures": moved.pictures, "keys": keys,
            },
            "source": side(&source, &found.people.0, &found.pictures.0),
            "target": side(&target, &found.people.1, &found.pictures.1),
            "conversations": found.conversations.len(),
            "read": found.read,
            "problems": problems,
            "different": found.different,
            "equal": found.is_equal(),
        }))?;
    }
    words(migration, found, out)?;
    let fine = found.is_equal() && problems == 0;
    Ok(if fine { Outcome::Done } else { Outcome::Incomplete })
}

fn words(migration: &Migration, found: &Verification, out: &Output) -> Result<()> {
    let moved = migration.moved();
    out.say(&format!(
        "moved {} records ({}), {} users, {} conversations, {} sessions, {} pictures",
        moved.records,
        size(moved.bytes),
        moved.users,
        moved.conversations,
        moved.sessions,
        moved.pictures
    ))?;
    let (source, target) = found.records();
    for (name, records, people) in [("source", source, found.people.0), ("target", target, found.people.1)] {
        out.say(&format!(
            "{name}: {} records, {}, digest {}; {} lines about people, digest {}",
            records.count,
            size(records.bytes),
            records.digest,
            people.count,
            people.digest
        ))?;
    }
    match found.different {
        0 => out.say(&format!("both sides are the same; {} records of the target were read", found.read)),
        n => out.say(&format!("{n} things are not the same on both sides")),
    }
}

fn sums(sums: &Sums) -> Value {
    json!({ "count": sums.count, "bytes": sums.bytes, "digest": sums.digest.to_string() })
}

fn side(records: &Sums, people: &Sums, pictures: &Sums) -> Value {
    json!({ "records": sums(records), "people": sums(people), "pictures": sums(pictures) })
}
