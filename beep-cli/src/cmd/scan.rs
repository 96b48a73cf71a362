//! `scan`: lists the records of a conversation.

use super::{Context, Site};
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Missing};
use crate::output::{duration, size};
use crate::time;
use beep_core::bite::{BiteMeta, Label, MAX_PAGE, ScanRange};
use beep_core::clock::Millis;
use beep_core::id::ConversationId;
use beep_core::store::Stores;
use serde_json::{Value, json};
use std::io::{self, IsTerminal};

const EXAMPLE: &str = "\
On a terminal, and with -v, a table: start, time, duration, author, size, media type. Else one start a line.

Example, the recordings of the last two hours:
  beep-cli scan c-0123 --from '2h ago' | while read start; do beep-cli get c-0123 $start -o $start.ogg; done";

/// List the recordings of a conversation.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The conversation
    #[arg(value_name = "C")]
    conversation: ConversationId,
    /// The earliest start
    #[arg(long, value_name = "TIME", value_parser = time::parse, default_value = "0", hide_default_value = true)]
    from: Millis,
    /// The latest start
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    to: Option<Millis>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Which records: bite (the recordings), user (what is attached to them) or transcription
    #[arg(long, value_name = "LABEL", default_value = "bite", value_parser = Label::parse)]
    label: Label,
}

/// Lists them, page by page.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let to = args.to.unwrap_or(Millis::MAX);
    if args.from > to {
        return Err(Failure::usage("--from must not be after --to"));
    }
    let site = context.open(Missing::Refuse).await?;
    if let Site::Local(stores) = &site {
        local::readable(stores, &args.conversation).await?;
    }
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut next = Some(ScanRange::new(args.from, to, left.min(MAX_PAGE))?);
    while let Some(range) = next.filter(|_| left > 0) {
        let mut page = match &site {
            Site::Local(stores) => here(stores, args, range).await?,
            Site::Remote(remote) => {
                let starts = starts(remote, args.label, &args.conversation, range).await?;
                starts.into_iter().map(|start| (start, None)).collect()
            }
        };
        page.truncate(left);
        left -= page.len();
        next = page.last().and_then(|(last, _)| range.after(*last));
        print(&page, context)?;
    }
    Ok(Outcome::Done)
}

type Line = (Millis, Option<BiteMeta>);

async fn here(stores: &Stores, args: &Args, range: ScanRange) -> Result<Vec<Line>> {
    let metas = stores.bites.metas(args.label, &args.conversation, range).await?;
    Ok(metas.into_iter().map(|(start, meta)| (start, Some(meta))).collect())
}

/// One page of a server's starts. It may be shorter than was asked for; an empty one is the end.
pub async fn starts(
    remote: &crate::remote::Remote,
    label: Label,
    conversation: &ConversationId,
    range: ScanRange,
) -> Result<Vec<Millis>> {
    #[derive(serde::Deserialize)]
    struct Page {
        starts: Vec<Millis>,
    }
    let page: Page = remote
        .get(&["store", label.as_str(), conversation.as_str(), "scan"])
        .query("from", range.from())
        .query("to", range.to())
        .query("limit", range.limit())
        .fetch()
        .await?;
    // A server that lists what was not asked for must not send us in a circle.
    Ok(page.starts.into_iter().filter(|start| (range.from()..=range.to()).contains(start)).collect())
}

fn print(page: &[Line], context: &Context) -> Result<()> {
    let out = &context.out;
    if out.json() {
        out.lines(page.iter().map(|line| object(line).to_string()))
    } else if out.verbose() || io::stdout().is_terminal() {
        out.table(&page.iter().map(row).collect::<Vec<_>>())
    } else {
        out.lines(page.iter().map(|(start, _)| start.to_string()))
    }
}

fn object((start, meta): &Line) -> Value {
    let mut object = json!({ "start": start, "time": time::utc(*start) });
    if let Some(meta) = meta {
        object["duration_ms"] = meta.duration_ms.into();
        object["user"] = meta.author.user.as_str().into();
        object["client"] = meta.author.device.as_str().into();
        object["bytes"] = meta.bytes.into();
        object["media_type"] = meta.media_type.as_str().into();
        object["sha256"] = meta.sha256.to_string().into();
        object["received"] = meta.received.into();
    }
    object
}

fn row((start, meta): &Line) -> [String; 6] {
    let Some(meta) = meta else {
        return [
            start.to_string(),
            time::local(*start),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ];
    };
    [
        start.to_string(),
        time::local(*start),
        meta.duration_ms.map_or_else(|| "-".to_owned(), duration),
        meta.author.user.to_string(),
        size(meta.bytes),
        meta.media_type.clone(),
    ]
}
