//! Every accepted format is recognised, measured and decoded to what was said.

use crate::audio_support::{FIXTURES, clip, fixture, likeness, wav};
use beep_pipeline::audio::{self, AudioError, decode_16k, encode_ogg_opus, probe};

const MINUTE: u64 = 60_000;

/// Media type, how many samples the codec may add, and by how many it comes late.
fn expected(name: &str) -> (&'static str, i64, usize) {
    match name.rsplit_once('.').map(|(stem, end)| (stem.starts_with("opus"), end)) {
        // Exact: run-up and padding are taken off.
        Some((true, "ogg")) => ("audio/ogg; codecs=opus", 0, 0),
        // Live, nothing says how much of the last packet is padding.
        Some((true, "webm")) => ("audio/webm; codecs=opus", 320, 0),
        // MP4 has the padding of the last packet, and AAC's run-up of 1,024, in an edit list that nothing here reads.
        Some((true, "mp4")) => ("audio/mp4", 320, 0),
        Some((false, "m4a" | "mp4")) => ("audio/mp4", 1_200, 1_024 * 160 / 441),
        // Only rounded to the other rate and back.
        Some((false, "flac")) => ("audio/flac", 2, 0),
        Some((false, "mp3")) => ("audio/mpeg", 2, 0),
        Some((false, "ogg")) => ("audio/ogg; codecs=vorbis", 2, 0),
        other => panic!("unknown fixture {other:?}"),
    }
}

/// What was encoded: the clip, or the part of it that was.
fn said(name: &str, source: &[u8]) -> Vec<i16> {
    let mut said = clip(source);
    said.truncate(if name.contains("short") { 11_200 } else { usize::MAX });
    said
}

#[test]
fn every_format_probes() {
    for (name, bytes, source) in FIXTURES {
        let (media_type, slack, _) = expected(name);
        let probed = probe(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(probed.media_type, media_type, "{name}");
        let (ms, said) = (
            probed.duration_ms.unwrap_or_else(|| panic!("{name}")) as i64,
            said(name, source).len() as i64 / 16,
        );
        assert!((ms - said).abs() <= slack / 16 + 1, "{name}: {ms} ms of {said}");
    }
}

#[test]
fn every_format_decodes_to_what_was_said() {
    for (name, bytes, source) in FIXTURES {
        let (_, slack, late) = expected(name);
        let pcm = decode_16k(bytes, MINUTE).unwrap_or_else(|e| panic!("{name}: {e}"));
        let said = said(name, source);
        let extra = pcm.samples.len() as i64 - said.len() as i64;
        assert!(extra.abs() <= slack, "{name}: {extra} samples more than said");
        assert_eq!((pcm.truncated, pcm.bad_packets), (false, 0), "{name}");
        let (alike, shift) = likeness(&said, &pcm.samples, late);
        assert!(alike > 0.9, "{name}: {alike} at {shift}");
    }
}

#[test]
fn probe_and_decode_agree_on_opus() {
    for (name, bytes, _) in FIXTURES.iter().filter(|f| f.0.starts_with("opus") && !f.0.ends_with("mp4")) {
        let ms = probe(bytes).ok().and_then(|p| p.duration_ms);
        assert_eq!(ms, Some(decode_16k(bytes, MINUTE).unwrap().samples.len() as u64 / 16), "{name}");
    }
}

#[test]
fn opus_comes_back_as_long_as_it_went_and_sounds_alike() {
    let said = clip(include_bytes!("../../speech/clips/one_two_three.wav"));
    for length in [1, 319, 320, 321, 16_000, said.len()] {
        let opus = encode_ogg_opus(&said[..length], 16_000, 24_000).unwrap();
        assert_eq!(decode_16k(&opus, MINUTE).unwrap().samples.len(), length);
    }
    for (bitrate, least) in [(8_000, 0.8), (16_000, 0.93), (24_000, 0.95), (64_000, 0.98)] {
        let opus = encode_ogg_opus(&said, 16_000, bitrate).unwrap();
        let pcm = decode_16k(&opus, MINUTE).unwrap();
        assert!(!pcm.truncated);
        let (alike, shift) = likeness(&said, &pcm.samples, 0);
        assert!(alike > least, "{bitrate}: {alike} at {shift}");
    }
    assert_eq!(encode_ogg_opus(&said, 16_000, 24_000), encode_ogg_opus(&said, 16_000, 24_000));
    assert!(matches!(encode_ogg_opus(&[], 16_000, 24_000), Err(AudioError::Invalid(_))));
    assert!(matches!(encode_ogg_opus(&said, 44_100, 24_000), Err(AudioError::Unsupported(_))));
    assert!(matches!(encode_ogg_opus(&said, 16_000, 100), Err(AudioError::Unsupported(_))));
}

#[test]
fn high_sounds_in_opus_do_not_fold_into_speech() {
    // A 12 kHz tone at 48 kHz: above what 16 kHz can hold, so next to nothing may be left of it.
    let tone: Vec<i16> = (0..48_000)
        .map(|i| ((f64::from(i) * 0.25 * std::f64::consts::TAU).sin() * 12_000.0) as i16)
        .collect();
    let opus = encode_ogg_opus(&tone, 48_000, 64_000).unwrap();
    let pcm = decode_16k(&opus, MINUTE).unwrap();
    assert_eq!(pcm.samples.len(), 16_000);
    // The beginning, where the tone starts out of nothing, has every frequency.
    assert!(
        pcm.samples[1_600..15_000].iter().all(|s| s.abs() < 40),
        "{:?}",
        pcm.samples[1_600..].iter().max()
    );
}

#[test]
fn chained_streams_play_one_after_the_other() {
    let (one, two) = (fixture("opus.ogg"), fixture("opus_stereo.ogg"));
    let both = [one, two].concat();
    let lengths = [one, two, &both].map(|b| decode_16k(b, MINUTE).unwrap().samples.len());
    assert_eq!(lengths[2], lengths[0] + lengths[1]);
    let (one, two) = (fixture("opus_live.webm"), fixture("opus_file.webm"));
    let lengths = [one, two, &[one, two].concat()].map(|b| decode_16k(b, MINUTE).unwrap().samples.len());
    assert!(lengths[2].abs_diff(lengths[0] + lengths[1]) < 2, "{lengths:?}");
}

#[test]
fn tags_in_front_are_stepped_over() {
    let id3 = b"ID3\x04\0\0\0\0\x01\x02".iter().copied().chain([0; 130]).collect::<Vec<u8>>();
    for name in ["mp3.mp3", "flac.flac"] {
        let tagged = [&id3[..], fixture(name)].concat();
        assert_eq!(probe(&tagged), probe(fixture(name)), "{name}");
        assert_eq!(decode_16k(&tagged, MINUTE), decode_16k(fixture(name), MINUTE), "{name}");
    }
}

#[test]
fn nothing_is_decoded_beyond_the_limit() {
    for (name, bytes, _) in FIXTURES {
        let error = decode_16k(bytes, 500).unwrap_err();
        assert!(matches!(error, AudioError::TooLong { ms: 501.., limit_ms: 500 }), "{name}: {error}");
    }
    // 60,000 packets of two bytes that claim 120 ms each: two hours in a small file.
    let mut bomb = fixture("opus.ogg")[..150].to_vec();
    let page_of_bombs =
        [&b"OggS\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\xff"[..], &[2; 255], &[0xFB, 6].repeat(255)]
            .concat();
    let tags = bomb.windows(4).rposition(|w| w == b"OggS").unwrap_or_else(|| panic!("no second page"));
    bomb.truncate(tags);
    bomb.extend(page_of_bombs.repeat(240));
    let started = std::time::Instant::now();
    assert!(
        matches!(decode_16k(&bomb, 600_000), Err(AudioError::TooLong { ms: 7_000_000.., .. })),
        "{:?}",
        probe(&bomb)
    );
    assert!(started.elapsed().as_millis() < 500);
}

#[test]
fn other_things_are_not_audio() {
    let text = "This is not sound, however long it goes on. ".repeat(100);
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x0cmeta\0\0\0\0".to_vec();
    let theora =
        [&b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x2a"[..], b"\x80theora", &[0; 35]]
            .concat();
    let adts = [0xFF, 0xF1, 0x50, 0x80, 0x02, 0x1F, 0xFC].repeat(50);
    let vp8 = {
        let mut webm = fixture("opus_live.webm").to_vec();
        let codec = webm.windows(6).position(|w| w == b"A_OPUS").unwrap();
        webm[codec..codec + 6].copy_from_slice(b"A_AC3 ");
        webm
    };
    let silent_film = {
        let mut mp4 = fixture("aac.m4a").to_vec();
        let hdlr = mp4.windows(4).position(|w| w == b"soun").unwrap();
        mp4[hdlr..hdlr + 4].copy_from_slice(b"vide");
        mp4
    };
    for bytes in [
        text.as_bytes(),
        &png,
        &heic,
        &theora,
        &adts,
        &vp8,
        &silent_film,
        &[0; 4_096],
        b"R",
        b"RIFF\0\0\0\0AVI ",
    ] {
        let (probed, decoded) = (probe(bytes), decode_16k(bytes, MINUTE));
        assert!(
            matches!(probed, Err(AudioError::NotAudio(_))),
            "{probed:?} for {}",
            bytes[..bytes.len().min(12)].escape_ascii()
        );
        assert!(matches!(decoded, Err(AudioError::NotAudio(_))), "{decoded:?}");
    }
    assert!(matches!(probe(b""), Err(AudioError::Invalid(_))));
    assert_eq!(audio::SAMPLE_RATE, 16_000);
    assert!(matches!(probe(&wav(0x11, 1, 8_000, 4, &[0; 64])), Err(AudioError::Unsupported(_))));
}
