//! MP3: recognised by its frame headers, and measured by counting them.

/// One Layer III frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    /// Version and rate, which do not change within a file.
    kind: u16,
    rate: u64,
    samples: u64,
    /// Bytes up to the next header.
    length: usize,
}

impl Frame {
    fn parse(bytes: &[u8]) -> Option<Self> {
        const KBITS: [[usize; 14]; 2] = [
            [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
            [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        ];
        let head = bytes.get(..4)?;
        // Eleven bits of sync; Layer III is 01; version 01 is reserved.
        let version = head[1] >> 3 & 3;
        if head[0] != 0xFF || head[1] & 0xE6 != 0xE2 || version == 1 {
            return None;
        }
        let first = version == 3;
        let kbits = *KBITS[usize::from(!first)].get(usize::from(head[2] >> 4).checked_sub(1)?)?;
        let rate = *[44_100, 48_000, 32_000].get(usize::from(head[2] >> 2 & 3))?
            >> [2, 0, 1, 0][usize::from(version)];
        let samples = if first { 1_152 } else { 576 };
        let length = samples / 8 * kbits * 1000 / rate + usize::from(head[2] >> 1 & 1);
        let kind = u16::from(head[1] & 0x18) << 8 | u16::from(head[2] & 0x0C);
        Some(Self { kind, rate: rate as u64, samples: samples as u64, length })
    }
}

/// Whether `bytes` begins, after any ID3 tags, with two frames that agree or with one that is all there is.
pub(super) fn is_mp3(bytes: &[u8]) -> bool {
    let bytes = after_id3(bytes);
    let Some(first) = Frame::parse(bytes) else { return false };
    match bytes.get(first.length..) {
        Some([]) => true,
        Some(rest) => Frame::parse(rest).is_some_and(|next| next.kind == first.kind),
        None => false,
    }
}

/// Duration by counting frames, without the encoder's delay and padding where a LAME header gives them.
pub(super) fn duration_ms(bytes: &[u8]) -> Option<u64> {
    let mut rest = after_id3(bytes);
    let first = Frame::parse(rest)?;
    let info = info(&rest[..first.length.min(rest.len())]);
    let (mut samples, mut header) = (0, info.is_some());
    while let Some(frame) = Frame::parse(rest) {
        // The first frame of most files only holds that header.
        samples += if std::mem::take(&mut header) { 0 } else { frame.samples };
        rest = rest.get(frame.length..).unwrap_or_default();
    }
    Some((samples - info.unwrap_or(0).min(samples)) * 1000 / first.rate)
}

/// The padding given by a Xing/Info header frame, in samples; `None` when the frame is an ordinary one.
fn info(frame: &[u8]) -> Option<u64> {
    // Behind the side information, whose length depends on version and channels.
    let side = match (frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    let tag = frame.get(4 + side..).filter(|tag| tag.starts_with(b"Xing") || tag.starts_with(b"Info"))?;
    let flags = *tag.get(7)?;
    // Frames, bytes, a table of contents and a quality are there or not, by flag.
    let fields: usize =
        [4, 4, 100, 4].iter().enumerate().filter(|(i, _)| flags >> i & 1 == 1).map(|(_, n)| n).sum();
    let delays = tag.get(8 + fields..).and_then(|encoder| encoder.get(21..24));
    Some(delays.map_or(0, |d| {
        let (delay, padding) =
            (u64::from(d[0]) << 4 | u64::from(d[1]) >> 4, u64::from(d[1] & 0x0F) << 8 | u64::from(d[2]));
        delay + padding
    }))
}

/// What follows the ID3v2 tags at the beginning.
pub(super) fn after_id3(mut bytes: &[u8]) -> &[u8] {
    while let Some([b'I', b'D', b'3', _, _, flags, a, b, c, d]) = bytes.get(..10) {
        let size = [a, b, c, d].iter().fold(0usize, |sum, b| sum << 7 | usize::from(**b & 0x7F));
        let footer = if flags & 0x10 != 0 { 10 } else { 0 };
        bytes = bytes.get(10 + size + footer..).unwrap_or_default();
    }
    bytes
}
