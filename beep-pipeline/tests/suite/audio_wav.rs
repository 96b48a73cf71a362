//! WAV in every coding, and as recorders leave it when they are cut off.

use crate::audio_support::{clip, likeness, wav};
use beep_pipeline::audio::{AudioError, Pcm, decode_16k, probe};

const CLIP: &[u8] = include_bytes!("../../speech/clips/yes.wav");
const MINUTE: u64 = 60_000;

fn decode(bytes: &[u8]) -> Pcm {
    decode_16k(bytes, MINUTE).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn what_needs_no_conversion_is_not_touched() {
    assert_eq!(decode(CLIP), Pcm { samples: clip(CLIP), truncated: false, bad_packets: 0 });
    assert_eq!(probe(CLIP).unwrap().duration_ms, Some(clip(CLIP).len() as u64 / 16));
}

#[test]
fn every_coding_holds_the_same_sound() {
    let said = clip(CLIP);
    let bytes = |f: &dyn Fn(i16) -> Vec<u8>| said.iter().flat_map(|s| f(*s)).collect::<Vec<u8>>();
    let real = |s: i16| f64::from(s) / 32_768.0;
    let exact = [
        wav(1, 1, 16_000, 24, &bytes(&|s| [0].into_iter().chain(s.to_le_bytes()).collect())),
        wav(1, 1, 16_000, 32, &bytes(&|s| [0, 0].into_iter().chain(s.to_le_bytes()).collect())),
        wav(3, 1, 16_000, 32, &bytes(&|s| (real(s) as f32).to_le_bytes().to_vec())),
        wav(3, 1, 16_000, 64, &bytes(&|s| real(s).to_le_bytes().to_vec())),
        wav(1, 2, 16_000, 16, &bytes(&|s| s.to_le_bytes().repeat(2))),
        wav(1, 7, 16_000, 16, &bytes(&|s| s.to_le_bytes().repeat(7))),
    ];
    for (i, file) in exact.iter().enumerate() {
        assert!(decode(file).samples == said, "{i}");
        assert_eq!(probe(file).unwrap().duration_ms, Some(said.len() as u64 / 16), "{i}");
    }
    let coarse = wav(1, 1, 16_000, 8, &bytes(&|s| vec![((i32::from(s) + 32_768) >> 8) as u8]));
    assert!(likeness(&said, &decode(&coarse).samples, 0).0 > 0.99);
}

#[test]
fn extensible_headers_are_read_through() {
    let plain = wav(1, 2, 16_000, 24, &[0, 0, 0x20, 0, 0, 0x20].repeat(100));
    // The same as WAVE_FORMAT_EXTENSIBLE, with chunks of other kinds and an odd length in between.
    let mut file = plain[..12].to_vec();
    file.extend(b"LIST\x03\0\0\0abc\0fmt \x28\0\0\0\xfe\xff");
    file.extend(&plain[22..36]);
    file.extend(b"\x16\0\x18\0\x03\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    file.extend(&plain[36..]);
    assert_eq!(decode(&file).samples, vec![0x2000; 100]);
}

#[test]
fn padded_samples_go_by_their_block() {
    // 24 bits in four bytes each.
    let mut file = wav(1, 1, 16_000, 24, &[0, 0, 0, 0x20].repeat(10));
    file[32] = 4;
    assert_eq!(decode(&file).samples, vec![0x2000; 10]);
}

#[test]
fn every_rate_keeps_time() {
    for rate in [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 383_999, 384_000] {
        let file = wav(1, 1, rate, 16, &vec![0; 2 * rate as usize]);
        assert_eq!(probe(&file).unwrap().duration_ms, Some(1_000), "{rate}");
        assert_eq!(decode(&file).samples.len(), 16_000, "{rate}");
    }
}

#[test]
fn a_recorder_that_never_came_back_loses_nothing() {
    let said = clip(CLIP);
    // (RIFF size, data size, is it a cut): as streams write them, and as a crash leaves them.
    for (riff, data, truncated) in
        [(u32::MAX, u32::MAX, false), (0, 0, false), (36, 0, false), (u32::MAX, 0x7FFF_0000, true)]
    {
        let mut file = CLIP.to_vec();
        file[4..8].copy_from_slice(&riff.to_le_bytes());
        file[40..44].copy_from_slice(&data.to_le_bytes());
        assert_eq!(decode(&file), Pcm { samples: said.clone(), truncated, bad_packets: 0 }, "{riff} {data}");
    }
}

#[test]
fn cut_anywhere_it_keeps_what_is_there() {
    let file = wav(1, 1, 16_000, 16, &CLIP[44..6_000]);
    let said = clip(&file);
    for length in (0..file.len()).step_by(7) {
        let cut = &file[..length];
        match decode_16k(cut, MINUTE) {
            Ok(pcm) => {
                assert!(pcm.samples == said[..(length - 44) / 2], "{length}");
                assert!(pcm.truncated);
                assert_eq!(probe(cut).unwrap().duration_ms, Some((length as u64 - 44) / 32));
            }
            Err(AudioError::Invalid(_)) => assert!((length == 0) | (12..46).contains(&length), "{length}"),
            Err(AudioError::NotAudio(_)) => assert!(length < 12, "{length}"),
            Err(e) => panic!("{length}: {e}"),
        }
    }
}

#[test]
fn absurd_headers_are_refused() {
    let absurd = [
        wav(1, 0, 16_000, 16, &[0; 100]),
        wav(1, 1, 0, 16, &[0; 100]),
        wav(1, 1, 3_999, 16, &[0; 100]),
        wav(1, 1, 384_001, 16, &[0; 100]),
        wav(1, 1, u32::MAX, 16, &[0; 100]),
        wav(1, 1, 16_000, 0, &[0; 100]),
        wav(1, 1, 16_000, 65_535, &[0; 100]),
        wav(3, 1, 16_000, 16, &[0; 100]),
        wav(7, 1, 16_000, 16, &[0; 100]),
        wav(1, 1, 16_000, 16, &[]),
        wav(1, 65_535, 16_000, 16, &[0; 100]),
        // A data chunk that really is empty, with another behind it.
        [wav(1, 1, 16_000, 16, &[]), b"LIST\x04\0\0\0abcd".to_vec()].concat(),
        CLIP[..36].to_vec(),
        [&CLIP[..12], &CLIP[36..]].concat(),
    ];
    for (i, file) in absurd.iter().enumerate() {
        assert!(matches!(probe(file), Err(AudioError::Invalid(_))), "{i}: {:?}", probe(file));
        assert!(matches!(decode_16k(file, MINUTE), Err(AudioError::Invalid(_))), "{i}");
    }
}
