//! What the benches share: the generator, the bare engines beside which Beep is measured, and the figures.
#![allow(dead_code, clippy::unwrap_used)] // each bench needs its own part; whatever fails here fails the run

pub mod figures;
pub mod lmdb;
pub mod load;
pub mod nginx;
pub mod process;
pub mod raw;
#[path = "../../tests/support/mod.rs"]
pub mod running;
pub mod streams;

use running::installation::wav;
use std::time::Duration;

/// How often Beep and the bare engines take turns.
pub fn rounds() -> usize {
    running::setting("BEEP_FIGURES_ROUNDS", 5) as usize
}

/// How long one turn lasts.
pub fn turn() -> Duration {
    Duration::from_millis(running::setting("BEEP_FIGURES_TURN_MS", 800))
}

/// A WAV file of this size whose first samples say which one it is.
pub fn numbered_wav(n: u64, size: usize) -> Vec<u8> {
    wav(size, |samples| {
        for (i, sample) in samples.chunks_exact_mut(8).enumerate() {
            sample.copy_from_slice(&(i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        }
        samples[..8].copy_from_slice(&n.to_le_bytes());
    })
}

/// Puts another number into a body of [`numbered_wav`].
pub fn renumber(wav: &mut [u8], n: u64) {
    wav[44..52].copy_from_slice(&n.to_le_bytes());
}
