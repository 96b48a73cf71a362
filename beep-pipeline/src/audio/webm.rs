//! WebM and Matroska: the Opus packets of the first Opus track.
//!
//! Elements are read flat: the few that hold others are entered, the rest stepped over. So the unknown sizes of a
//! recorder that writes live need no special care, nor does a file that stops anywhere.

use super::AudioError;
use super::opus::{Event, Head, Visit};

pub(super) const MAGIC: &[u8] = &[0x1A, 0x45, 0xDF, 0xA3];
const CLUSTER: &[u8] = &[0x1F, 0x43, 0xB6, 0x75];

/// A packet lasts no longer, so neither does its padding.
const LONGEST_NS: u64 = 120_000_000;

mod id {
    pub(super) const EBML: u32 = 0x1A45_DFA3;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const TRACKS: u32 = 0x1654_AE6B;
    pub(super) const TRACK: u32 = 0xAE;
    pub(super) const TRACK_NUMBER: u32 = 0xD7;
    pub(super) const CODEC: u32 = 0x86;
    pub(super) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(super) const CLUSTER: u32 = 0x1F43_B675;
    pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
    pub(super) const BLOCK_GROUP: u32 = 0xA0;
    pub(super) const BLOCK: u32 = 0xA1;
    pub(super) const DISCARD_PADDING: u32 = 0x75A2;
}

/// One track as its header describes it.
#[derive(Default)]
struct Track<'a> {
    number: u64,
    codec: &'a [u8],
    private: &'a [u8],
}

/// Shows `visit` the heads and packets. Returns whether the file stops in the middle of an element.
pub(super) fn walk(bytes: &[u8], visit: &mut Visit<'_>) -> Result<bool, AudioError> {
    let mut tracks: Vec<Track<'_>> = Vec::new();
    let (mut playing, mut played) = (None, false);
    let mut rest = bytes;
    let mut truncated = false;
    while !rest.is_empty() {
        let Some((id, size, body)) = element(rest) else {
            // Noise, or the file ends inside an element's head: go on where the next cluster begins.
            truncated = true;
            rest = resync(rest);
            continue;
        };
        let size = match id {
            id::SEGMENT | id::TRACKS | id::TRACK | id::CLUSTER | id::BLOCK_GROUP => 0,
            _ => size.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX)),
        };
        let Some(content) = body.get(..size) else {
            truncated = true;
            rest = resync(rest);
            continue;
        };
        match id {
            // The head of another recording appended to this one, or of this one.
            id::EBML => (tracks, playing) = (Vec::new(), None),
            id::TRACK => tracks.push(Track::default()),
            id::TRACK_NUMBER | id::CODEC | id::CODEC_PRIVATE => {
                if let Some(track) = tracks.last_mut() {
                    match id {
                        id::TRACK_NUMBER => track.number = number(content),
                        id::CODEC => track.codec = content,
                        _ => track.private = content,
                    }
                }
            }
            id::CLUSTER if playing.is_none() => {
                match choose(&tracks, visit) {
                    // Something was said before: what was appended to it cannot take that back.
                    Err(_) if played => break,
                    chosen => playing = Some(chosen?),
                }
                played = true;
            }
            id::SIMPLE_BLOCK | id::BLOCK => {
                if let Some((track, lacing, data)) = block(content)
                    && playing == Some(track)
                {
                    frames(lacing, data, visit)?;
                }
            }
            // Nanoseconds to leave off the end of the block before; negative ones would be the beginning's.
            id::DISCARD_PADDING if playing.is_some() => {
                let ns = number(content);
                if content.len() <= 8 && content.first().is_some_and(|b| b & 0x80 == 0) && ns <= LONGEST_NS {
                    visit(Event::Trim(ns * 48 / 1_000_000))?;
                }
            }
            // A damaged size must not swallow the clusters that follow.
            _ if playing.is_some() && content.windows(CLUSTER.len()).any(|window| window == CLUSTER) => {
                truncated = true;
                rest = resync(rest);
                continue;
            }
            _ => {}
        }
        rest = &body[size..];
    }
    if !played {
        choose(&tracks, visit)?;
    }
    Ok(truncated)
}

/// Announces the first Opus track and returns its number.
fn choose(tracks: &[Track<'_>], visit: &mut Visit<'_>) -> Result<u64, AudioError> {
    let track = tracks.iter().find(|t| t.codec.starts_with(b"A_OPUS")).ok_or_else(|| {
        let codecs: Vec<_> = tracks.iter().map(|t| String::from_utf8_lossy(t.codec)).collect();
        AudioError::NotAudio(format!("WebM without an Opus track (it has {codecs:?})"))
    })?;
    // Old muxers leave the private part out; then nothing is to be skipped.
    let head = if track.private.is_empty() { Head::default() } else { Head::parse(track.private)? };
    visit(Event::Head(head))?;
    Ok(track.number)
}

/// Splits off an element's head: id, size (`None` when unknown) and what follows.
fn element(bytes: &[u8]) -> Option<(u32, Option<u64>, &[u8])> {
    let id_length = bytes.first()?.leading_zeros() as usize + 1;
    if id_length > 4 {
        return None;
    }
    let id = number(bytes.get(..id_length)?) as u32;
    let (size, rest) = vint(&bytes[id_length..])?;
    Some((id, size, rest))
}

/// A length-prefixed number; `None` inside when all its bits are set, which means "unknown".
fn vint(bytes: &[u8]) -> Option<(Option<u64>, &[u8])> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let raw = number(bytes.get(..length.min(9))?);
    if length > 8 {
        return None;
    }
    let mask = (1u64 << (7 * length)) - 1;
    Some((Some(raw & mask).filter(|v| *v != mask), &bytes[length..]))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, b| sum << 8 | u64::from(*b))
}

/// Where the next cluster begins, after the first byte of `bytes`.
fn resync(bytes: &[u8]) -> &[u8] {
    let next = bytes.windows(CLUSTER.len()).skip(1).position(|window| window == CLUSTER);
    &bytes[next.map_or(bytes.len(), |at| at + 1)..]
}

/// A block's track number, kind of lacing and frames.
fn block(content: &[u8]) -> Option<(u64, u8, &[u8])> {
    let (track, rest) = vint(content)?;
    // Two bytes of relative time, which nothing here needs, and the flags.
    let (head, data) = rest.split_at_checked(3)?;
    Some((track?, head[2] >> 1 & 3, data))
}

/// Shows `visit` the frames of a block. A broken lace costs its block, no more.
fn frames(lacing: u8, data: &[u8], visit: &mut Visit<'_>) -> Result<(), AudioError> {
    if lacing == 0 {
        return visit(Event::Packet(data));
    }
    let Some((sizes, mut data)) = lace(lacing, data) else { return visit(Event::Packet(&[])) };
    for size in sizes {
        let Some((frame, rest)) = data.split_at_checked(size) else { return visit(Event::Packet(&[])) };
        visit(Event::Packet(frame))?;
        data = rest;
    }
    visit(Event::Packet(data))
}

/// Sizes of all frames of a laced block but the last, which has the rest.
fn lace(lacing: u8, data: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    let (count, mut data) = data.split_first()?;
    let count = usize::from(*count);
    let mut sizes: Vec<usize> = Vec::with_capacity(count);
    match lacing {
        // Fixed: all the same.
        2 => sizes.resize(count, data.len() / (count + 1)),
        // Xiph: each the sum of its bytes up to one below 255.
        1 => {
            for _ in 0..count {
                let full = data.iter().take_while(|b| **b == 255).count();
                sizes.push(full * 255 + usize::from(*data.get(full)?));
                data = &data[full + 1..];
            }
        }
        // EBML: the first as it is, the others as differences around a bias.
        _ => {
            for i in 0..count {
                let before = data.len();
                let (value, rest) = vint(data)?;
                let value = i64::try_from(value?).ok()?;
                let bias = if i == 0 { 0 } else { (1i64 << (7 * (before - rest.len()) - 1)) - 1 };
                let previous = sizes.last().map_or(0, |s| *s as i64);
                sizes.push(usize::try_from(previous + value - bias).ok()?);
                data = rest;
            }
        }
    }
    Some((sizes, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laced(lacing: u8, data: &[u8]) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        frames(lacing, data, &mut |event| {
            if let Event::Packet(packet) = event {
                seen.push(packet.to_vec());
            }
            Ok(())
        })
        .unwrap();
        seen
    }

    #[test]
    fn every_lacing_splits_its_frames() {
        assert_eq!(laced(0, b"abc"), [b"abc"]);
        assert_eq!(laced(2, b"\x02aabbcc"), [b"aa", b"bb", b"cc"]);
        assert_eq!(laced(1, b"\x02\x01\x03abbbcc"), [&b"a"[..], b"bbb", b"cc"]);
        // First size 1, then +2 (0x81 0x41+0x80), the rest for the last.
        assert_eq!(laced(3, &[b"\x02\x81\xC1", &b"abbbcc"[..]].concat()), [&b"a"[..], b"bbb", b"cc"]);
        assert_eq!(laced(1, b"\x02\xff"), [b""]);
    }

    #[test]
    fn sizes_may_be_unknown() {
        assert_eq!(vint(&[0x81, 7]), Some((Some(1), &[7][..])));
        assert_eq!(vint(&[0x01, 255, 255, 255, 255, 255, 255, 255]), Some((None, &[][..])));
        assert_eq!(vint(&[0xFF]), Some((None, &[][..])));
        assert_eq!(vint(&[0x40]), None);
        assert_eq!(vint(&[0x00; 9]), None);
    }
}
