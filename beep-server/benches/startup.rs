//! From the start of the process to ready with a large store, and the memory of an idle server without a model.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

mod support;

use bytes::Bytes;
use std::process::ExitCode;
use std::time::Instant;
use support::figures::{Figures, median};
use support::process::settled_anon_kib;
use support::running::installation::Installation;
use support::running::server::Server;
use support::running::setting;
use support::{numbered_wav, rounds};

fn main() -> ExitCode {
    let bites = setting("BEEP_FIGURES_BITES", 1_000_000);
    let dir = tempfile::tempdir().unwrap();
    let installation = Installation::create(dir.path(), 2);
    let begun = Instant::now();
    installation.fill(&installation.conversation, 1, 1, bites, |n| Bytes::from(numbered_wav(n, 100)));
    println!("filled with {bites} bites in {:.1} s", begun.elapsed().as_secs_f64());
    let (mut ready, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..rounds().max(5) {
        let mut server = Server::start(installation.dir(), &[]);
        ready.push(server.ready_after.as_secs_f64() * 1e3);
        idle.push(settled_anon_kib(server.pid()) as f64 / 1024.0);
        server.kill();
    }
    let worst = ready.iter().copied().fold(0.0, f64::max);
    let mut figures = Figures::default();
    figures.at_most("start-to-ready-ms", median(&ready), 200.0, &format!("bites={bites} worst={worst:.0}ms"));
    figures.at_most("idle-memory-mib", median(&idle), 40.0, "RssAnon, no model");
    figures.finish()
}
