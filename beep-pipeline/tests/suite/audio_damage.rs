//! Damaged, cut and random bytes end in sound or in an error: never in a panic, a hang or a guess.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::audio_support::{FIXTURES, clip, fixture, likeness};
use beep_pipeline::audio::{AudioError, decode_16k, encode_ogg_opus, probe};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const MINUTE: u64 = 60_000;
/// Raise it to search: `BEEP_FUZZ_CASES=100000 cargo test --release --test audio_damage`.
const CASES: u64 = 1_500;

const CLIP: &[u8] = include_bytes!("../../speech/clips/no.wav");

#[test]
fn mutated_files_never_break_anything() {
    let cases = std::env::var("BEEP_FUZZ_CASES").map_or(CASES, |n| n.parse().unwrap_or(CASES));
    let mut originals: Vec<&[u8]> = FIXTURES.iter().map(|f| f.1).collect();
    originals.push(CLIP);
    let (mut fine, mut refused) = (0, 0);
    for seed in 0..cases {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut file = originals[seed as usize % originals.len()].to_vec();
        for _ in 0..random.random_range(1..4) {
            mutate(&mut file, &mut random);
        }
        let started = worked();
        let (probed, decoded) = (probe(&file), decode_16k(&file, MINUTE));
        let took = worked() - started;
        assert!(took < Duration::from_secs(1), "seed {seed} took {took:?}");
        match &decoded {
            Ok(pcm) => {
                assert!(!pcm.samples.is_empty() && pcm.samples.len() as u64 <= MINUTE * 16, "seed {seed}");
                assert!(probed.is_ok(), "seed {seed}: decoded what probe calls {probed:?}");
                fine += 1;
            }
            // The second line of defence must stay unused.
            Err(e) => {
                assert!(!e.to_string().contains("gave up"), "seed {seed} panicked");
                refused += 1;
            }
        }
    }
    // Or the mutations test nothing but the one path.
    assert!(fine > cases / 5 && refused > cases / 20, "{fine} decoded, {refused} refused");
}

/// Processor time of this thread, so that a busy machine fails nothing; where the system does not say, the time that passed.
fn worked() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = stat.and_then(|stat| stat.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn mutate(file: &mut Vec<u8>, random: &mut SmallRng) {
    if file.is_empty() {
        return;
    }
    let at = random.random_range(0..file.len());
    match random.random_range(0..8) {
        0 => file.truncate(at),
        1 => file[at] ^= 1 << random.random_range(0..8),
        2 => file[random.random_range(0..at.min(200) + 1)] = random.random(),
        3 => {
            let boundary: [u8; 4] =
                [[0xFF; 4], [0; 4], [0x7F, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0x80]][random.random_range(0..4)];
            file.iter_mut().skip(at).zip(boundary).for_each(|(b, new)| *b = new);
        }
        4 => drop(file.drain(at..(at + random.random_range(1..600)).min(file.len()))),
        5 => {
            let noise: Vec<u8> = (0..random.random_range(1..300)).map(|_| random.random()).collect();
            file.splice(at..at, noise);
        }
        6 => {
            let end = (at + random.random_range(1..600)).min(file.len());
            let piece = file[at..end].to_vec();
            let to = random.random_range(0..file.len());
            file.splice(to..to, piece);
        }
        _ => file[at..].iter_mut().take(64).for_each(|b| *b = random.random()),
    }
}

#[test]
fn opus_cut_anywhere_keeps_what_is_there() {
    let ogg = encode_ogg_opus(&clip(CLIP)[..9_600], 16_000, 16_000).unwrap();
    for (name, bytes) in [("ogg", &ogg[..]), ("webm", fixture("opus_short.webm"))] {
        let whole = decode_16k(bytes, MINUTE).unwrap().samples;
        let mut longest = 0;
        for length in (0..bytes.len()).step_by(7) {
            match decode_16k(&bytes[..length], MINUTE) {
                Ok(pcm) => {
                    // Only the note on the last packet's padding, when it finally comes, may take something away.
                    assert!(pcm.samples.len() + 320 >= longest, "{name} {length}: more bytes, less sound");
                    longest = pcm.samples.len();
                    assert!(longest <= whole.len() + 320, "{name} {length}");
                    // All but the last packet is as if nothing had happened.
                    let same = longest.min(whole.len()).saturating_sub(400);
                    assert!(pcm.samples[..same] == whole[..same], "{name} {length}");
                    assert_eq!(pcm.bad_packets, 0, "{name} {length}");
                    let ms = probe(&bytes[..length]).unwrap().duration_ms;
                    assert_eq!(ms, Some(longest as u64 / 16), "{name} {length}");
                }
                Err(AudioError::Invalid(_) | AudioError::NotAudio(_)) => {
                    assert!(longest == 0, "{name} {length}")
                }
                Err(e) => panic!("{name} {length}: {e}"),
            }
        }
        // Seven bytes short of the end at most one packet and its page are missing.
        assert!(longest + 16_000 > whole.len(), "{name}: {longest} of {}", whole.len());
    }
}

#[test]
fn other_formats_cut_in_the_middle_keep_what_is_there() {
    for name in ["aac_fragmented.mp4", "mp3.mp3", "flac.flac", "vorbis.ogg"] {
        let bytes = fixture(name);
        let whole = decode_16k(bytes, MINUTE).unwrap().samples.len();
        let half =
            decode_16k(&bytes[..bytes.len() * 2 / 3], MINUTE).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            (whole / 5..whole).contains(&half.samples.len()),
            "{name}: {} of {whole}",
            half.samples.len()
        );
    }
    let headless = &fixture("aac.m4a")[..8_000];
    assert!(matches!(probe(headless), Err(AudioError::Invalid(_))), "its index is at the end");
}

#[test]
fn a_flipped_bit_costs_an_opus_packet_not_a_recording() {
    let said = clip(include_bytes!("../../speech/clips/zero_eight_nine.wav"));
    let opus = encode_ogg_opus(&said, 16_000, 16_000).unwrap();
    let mut random = SmallRng::seed_from_u64(1);
    for _ in 0..100 {
        let mut file = opus.clone();
        let at = random.random_range(200..file.len());
        file[at] ^= 1 << random.random_range(0..8);
        let pcm = decode_16k(&file, MINUTE).unwrap();
        assert!(pcm.samples.len() + 3_200 > said.len(), "byte {at}: {} of {}", pcm.samples.len(), said.len());
        assert!(likeness(&said, &pcm.samples, 0).0 > 0.3, "byte {at}");
    }
}

#[test]
fn lost_packets_leave_their_time() {
    // The packets in the middle second become one that no decoder takes: a code 3 packet of no frames.
    let said = clip(include_bytes!("../../speech/clips/zero_eight_nine.wav"));
    let mut file = encode_ogg_opus(&said, 16_000, 16_000).unwrap();
    let intact = decode_16k(&file, MINUTE).unwrap().samples;
    let page = file.windows(4).enumerate().filter(|(_, w)| *w == b"OggS").nth(2).map(|(at, _)| at).unwrap();
    let lacing = file[page + 27..page + 27 + usize::from(file[page + 26])].to_vec();
    let mut at = page + 27 + lacing.len();
    for (i, length) in lacing.iter().enumerate() {
        if (50..60).contains(&i) {
            file[at] |= 3;
            file[at + 1] = 0;
        }
        at += usize::from(*length);
    }
    let pcm = decode_16k(&file, MINUTE).unwrap();
    assert_eq!((pcm.samples.len(), pcm.bad_packets), (said.len(), 10));
    // What follows the gap stands where it stands without one; the decoder needs a moment to find its tone again.
    let (after, _) = likeness(&intact[22_000..], &pcm.samples[22_000..], 0);
    assert!(after > 0.85, "{after}");
}

#[test]
fn noise_is_not_audio() {
    let mut random = SmallRng::seed_from_u64(2);
    for length in [1, 2, 3, 4, 8, 11, 12, 43, 44, 100, 4_096, 100_000] {
        for _ in 0..50 {
            let noise: Vec<u8> = (0..length).map(|_| random.random()).collect();
            assert!(matches!(probe(&noise), Err(AudioError::NotAudio(_))), "{length}");
        }
        for start in [
            &b"RIFF\0\0\0\0WAVE"[..],
            b"OggS\0",
            b"\x1aE\xdf\xa3",
            b"fLaC",
            b"ID3\x04",
            b"\0\0\0\x20ftypM4A ",
        ] {
            let noise: Vec<u8> = start.iter().copied().chain((0..length).map(|_| random.random())).collect();
            assert!(decode_16k(&noise, MINUTE).is_err(), "{}", start.escape_ascii());
            assert!(probe(&noise).is_err(), "{}", start.escape_ascii());
        }
    }
}
