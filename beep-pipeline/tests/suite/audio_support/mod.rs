//! Recordings to decode, and how alike two of them are.

/// The committed recordings: name, bytes and the clip they were made from.
pub const FIXTURES: &[(&str, &[u8], &[u8])] = &[
    (
        "opus.ogg",
        include_bytes!("../../data/audio/opus.ogg"),
        include_bytes!("../../../speech/clips/zero_eight_nine.wav"),
    ),
    (
        "opus_stereo.ogg",
        include_bytes!("../../data/audio/opus_stereo.ogg"),
        include_bytes!("../../../speech/clips/four_five_six_seven.wav"),
    ),
    (
        "opus_live.webm",
        include_bytes!("../../data/audio/opus_live.webm"),
        include_bytes!("../../../speech/clips/zero_eight_nine.wav"),
    ),
    (
        "opus_file.webm",
        include_bytes!("../../data/audio/opus_file.webm"),
        include_bytes!("../../../speech/clips/send_help.wav"),
    ),
    (
        "opus_short.webm",
        include_bytes!("../../data/audio/opus_short.webm"),
        include_bytes!("../../../speech/clips/no.wav"),
    ),
    (
        "opus.mp4",
        include_bytes!("../../data/audio/opus.mp4"),
        include_bytes!("../../../speech/clips/help.wav"),
    ),
    (
        "aac.m4a",
        include_bytes!("../../data/audio/aac.m4a"),
        include_bytes!("../../../speech/clips/send_help.wav"),
    ),
    (
        "aac_fragmented.mp4",
        include_bytes!("../../data/audio/aac_fragmented.mp4"),
        include_bytes!("../../../speech/clips/send_help.wav"),
    ),
    (
        "flac.flac",
        include_bytes!("../../data/audio/flac.flac"),
        include_bytes!("../../../speech/clips/yes.wav"),
    ),
    (
        "mp3.mp3",
        include_bytes!("../../data/audio/mp3.mp3"),
        include_bytes!("../../../speech/clips/one_two_three.wav"),
    ),
    (
        "vorbis.ogg",
        include_bytes!("../../data/audio/vorbis.ogg"),
        include_bytes!("../../../speech/clips/play_five.wav"),
    ),
];

/// A fixture's bytes.
pub fn fixture(name: &str) -> &'static [u8] {
    FIXTURES.iter().find(|f| f.0 == name).unwrap_or_else(|| panic!("no fixture {name}")).1
}

/// The samples of one of the clips, which all are 16 kHz mono with a 44-byte header.
pub fn clip(wav: &[u8]) -> Vec<i16> {
    wav[44..].chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect()
}

/// A WAV file around `data`, with whatever the fields say.
pub fn wav(tag: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let block = channels.wrapping_mul(bits / 8);
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0");
    file.extend(tag.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate.wrapping_mul(u32::from(block))).to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

/// The best normalised correlation of `heard` with `said` when it comes `late` samples late, give or take one, and the shift.
pub fn likeness(said: &[i16], heard: &[i16], late: usize) -> (f64, i64) {
    let (said, heard) = (said.iter().map(|s| f64::from(*s)), heard.iter().map(|s| f64::from(*s)));
    let (said, mut heard): (Vec<f64>, Vec<f64>) = (said.collect(), heard.collect());
    heard.insert(0, 0.0);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let scale = (dot(&said, &said) * dot(&heard, &heard)).sqrt().max(1.0);
    let score = |shift: usize| dot(&said, heard.get(late + shift..).unwrap_or_default()) / scale;
    (0..3)
        .map(|shift| (score(shift), shift as i64 - 1))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or_default()
}
