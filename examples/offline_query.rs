//! What an installation holds, read without a server: also beside a running one.

use beep_core::bite::{Label, ScanRange};
use beep_core::clock::System;
use beep_core::permission::{Action, Gate};
use beep_core::store::Start;
use beep_pipeline::{Beep, Utterance, samples::SAMPLES};
use beep_storage::{DataDir, open};
use std::sync::Arc;

#[tokio::main]
async fn main() -> beep_core::Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = DataDir::new(folder.path());
    let crew = Gate::operator(&"crew".parse()?, Gate::operator_identity()?, Action::Speak);

    // One process records …
    let beep = Beep::builder(open(&data.storage(), Arc::new(System)).await?).start().await?;
    for (n, sample) in SAMPLES.iter().enumerate() {
        beep.record(&crew, Utterance::new(sample.wav, Start::At(1_000 * n as u64))).await?;
    }
    beep.shutdown().await;

    // … another reads: a range of time, what is known about each bite, and its bytes.
    let stores = open(&data.storage(), Arc::new(System)).await?;
    let range = ScanRange::new(2_000, 6_000, 100)?;
    let page = stores.bites.scan(Label::Bite, crew.conversation(), range).await?;
    println!(
        "from 2 s to 6 s: {:?}, before that {:?}, after that {:?}",
        page.starts, page.previous, page.next
    );
    for (start, meta) in stores.bites.metas(Label::Bite, crew.conversation(), range).await? {
        println!(
            "{start:>6} {} {:>5} ms {:>6} bytes {}",
            meta.media_type,
            meta.duration_ms.unwrap_or(0),
            meta.bytes,
            meta.sha256
        );
    }
    Ok(())
}
