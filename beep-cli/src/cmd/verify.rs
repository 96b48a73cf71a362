//! `verify`: reads every record and names the damaged ones.

use super::Context;
use crate::failure::{Outcome, Result};
use crate::output::clean;
use serde_json::json;

/// Read every record and name the damaged ones.
#[derive(clap::Args)]
#[command(after_help = "Each damaged record is named on stdout, and then the exit code is 1.")]
pub struct Args {}

/// Records per step: often enough for a smooth bar.
const STEP: usize = 256;

/// Reads them.
pub async fn run(_: &Args, context: &Context) -> Result<Outcome> {
    let out = &context.out;
    let stores = context.stores("verify").await?;
    let bar = out.bar("verifying", None);
    let (mut checked, mut damaged) = (0, 0_u64);
    let mut from = None;
    loop {
        let page = stores.bites.verify(from, STEP).await?;
        checked += page.checked;
        bar.set_position(checked);
        for record in page.corrupt {
            damaged += 1;
            if out.json() {
                out.object(&json!({ "type": "damaged", "key": record.key, "reason": record.reason }))?;
            } else {
                bar.suspend(|| out.line(&format!("{}: {}", clean(&record.key), clean(&record.reason))))?;
            }
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    if out.json() {
        out.object(&json!({ "type": "summary", "checked": checked, "damaged": damaged }))?;
    }
    out.say(&format!("{checked} records read, {damaged} damaged"))?;
    Ok(if damaged == 0 { Outcome::Done } else { Outcome::Incomplete })
}
