//! Ogg: pages, packets and what they hold, read so that damage costs as little as possible.
//!
//! Checksums are not looked at: a flipped bit costs an Opus packet some milliseconds of noise, refusing the page would
//! cost a second of speech (0.46 of the audio survives a flipped bit with the check, all of it without). Where
//! the page structure is lost, reading goes on at the next page.

use std::borrow::Cow;

use super::AudioError;
use super::opus::{Event, Head, USUAL, Visit, packet_samples};

/// What an Ogg file carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Opus,
    Vorbis,
}

/// Looks at the streams' first pages, which all come before any audio.
pub(super) fn content(bytes: &[u8]) -> Result<Content, AudioError> {
    for page in Pages::new(bytes).take_while(|page| page.first) {
        match page.body {
            body if body.starts_with(OPUS) => return Ok(Content::Opus),
            body if body.starts_with(VORBIS) => return Ok(Content::Vorbis),
            _ => {}
        }
    }
    Err(AudioError::NotAudio("Ogg without an Opus or Vorbis stream".into()))
}

/// Rate and last position of an Ogg Vorbis stream: its length in samples.
pub(super) fn vorbis_length(bytes: &[u8]) -> Option<(u32, u64)> {
    let mut rate = None;
    let mut last = None;
    walk_packets(bytes, VORBIS, &mut |part| {
        match part {
            Part::Head(head) => {
                rate = rate.or(head.get(12..16).map(|r| u32::from_le_bytes([r[0], r[1], r[2], r[3]])))
            }
            Part::PageEnd { position, .. } => last = position.or(last),
            Part::Packet(_) => {}
        }
        Ok(())
    })
    .ok()?;
    rate.zip(last)
}

/// Shows `visit` what the Opus streams hold. Returns whether the file is cut short.
pub(super) fn walk(bytes: &[u8], visit: &mut Visit<'_>) -> Result<bool, AudioError> {
    // In 48 kHz samples: position given by the page before, sound of this page, length of the packet before.
    let (mut position, mut sound, mut usual) = (0, 0, USUAL);
    walk_packets(bytes, OPUS, &mut |part| match part {
        Part::Head(head) => {
            (position, sound, usual) = (0, 0, USUAL);
            visit(Event::Head(Head::parse(head)?))
        }
        Part::Packet(packet) if packet.starts_with(b"OpusTags") => Ok(()),
        Part::Packet(packet) => {
            // An unreadable packet is taken to be as long as the one before.
            usual = packet_samples(packet).unwrap_or(usual);
            sound += usual;
            visit(Event::Packet(packet))
        }
        Part::PageEnd { position: end, last } => {
            // RFC 7845, 4.4: a last position short of what the packets decode to cuts the padding off.
            let trim = end.filter(|_| last).map_or(0, |end| (position + sound).saturating_sub(end));
            position = end.unwrap_or(position + sound);
            // More than the page holds is a broken position, not padding.
            if (1..std::mem::take(&mut sound)).contains(&trim) { visit(Event::Trim(trim)) } else { Ok(()) }
        }
    })
}

pub(super) const OPUS: &[u8] = b"OpusHead";
pub(super) const VORBIS: &[u8] = b"\x01vorbis";

/// What a stream holds, in order.
pub(super) enum Part<'a> {
    /// The packet a stream begins with.
    Head(&'a [u8]),
    /// Any other packet.
    Packet(&'a [u8]),
    /// All packets that end on a page were shown.
    PageEnd {
        /// What the page says about its last packet's end; the unit is the codec's business.
        position: Option<u64>,
        /// The page says that the stream ends.
        last: bool,
    },
}

/// Shows `visit` the first stream whose head begins with `codec`, and those chained after it. Returns whether the file
/// stops in mid-page or without saying that it ends.
pub(super) fn walk_packets(
    bytes: &[u8],
    codec: &[u8],
    visit: &mut dyn FnMut(Part<'_>) -> Result<(), AudioError>,
) -> Result<bool, AudioError> {
    let mut stream: Option<Stream<'_>> = None;
    let mut damaged = false;
    for page in Pages::new(bytes) {
        // Other heads before the first stream's second page belong to streams beside it.
        if page.first && page.body.starts_with(codec) && stream.as_ref().is_none_or(|s| s.started) {
            visit(Part::Head(page.body))?;
            stream = Some(Stream { serial: page.serial, started: false, ended: false, pending: None });
        } else if let Some(stream) = stream.as_mut().filter(|s| s.serial == page.serial) {
            stream.page(&page, visit)?;
        }
        damaged = !page.whole;
    }
    Ok(damaged || stream.is_some_and(|s| !s.ended))
}

/// One logical stream while its pages go by.
struct Stream<'a> {
    serial: u32,
    /// A page other than the head was seen.
    started: bool,
    ended: bool,
    /// The beginning of a packet that goes on in the next page.
    pending: Option<Cow<'a, [u8]>>,
}

impl<'a> Stream<'a> {
    fn page(
        &mut self,
        page: &Page<'a>,
        visit: &mut dyn FnMut(Part<'_>) -> Result<(), AudioError>,
    ) -> Result<(), AudioError> {
        let mut pending = self.pending.take().filter(|_| page.continued);
        // A continued packet whose beginning is lost is no packet.
        let mut skip = page.continued && pending.is_none();
        let (mut at, mut length) = (0, 0);
        for lace in page.lacing {
            length += usize::from(*lace);
            if *lace == 255 {
                continue;
            }
            let Some(piece) = page.body.get(at..at + length) else { break };
            (at, length) = (at + length, 0);
            let packet = join(pending.take(), piece);
            if !std::mem::take(&mut skip) {
                visit(Part::Packet(&packet))?;
            }
        }
        if length > 0 && !skip {
            self.pending = Some(join(pending, page.body.get(at..).unwrap_or_default()));
        }
        self.started = true;
        self.ended = page.last;
        visit(Part::PageEnd { position: page.position, last: page.last })
    }
}

fn join<'a>(start: Option<Cow<'a, [u8]>>, rest: &'a [u8]) -> Cow<'a, [u8]> {
    start.map_or(Cow::Borrowed(rest), |start| {
        let mut packet = start.into_owned();
        packet.extend_from_slice(rest);
        Cow::Owned(packet)
    })
}

/// One page, as far as it is there.
struct Page<'a> {
    serial: u32,
    /// Granule position: what it counts is the codec's business. `None` when no packet ends on the page.
    position: Option<u64>,
    continued: bool,
    first: bool,
    last: bool,
    /// Lengths of the segments; a packet ends at the first below 255.
    lacing: &'a [u8],
    body: &'a [u8],
    /// The body is complete.
    whole: bool,
}

struct Pages<'a> {
    bytes: &'a [u8],
}

const MAGIC: &[u8] = b"OggS";
const HEADER: usize = 27;

impl<'a> Pages<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Pages<'a> {
    type Item = Page<'a>;

    fn next(&mut self) -> Option<Page<'a>> {
        if !self.bytes.starts_with(MAGIC) {
            self.bytes = &self.bytes[find(self.bytes, MAGIC)?..];
        }
        let header = self.bytes.get(..HEADER)?;
        let lacing = self.bytes.get(HEADER..HEADER + usize::from(header[26]))?;
        let rest = &self.bytes[HEADER + lacing.len()..];
        let wanted: usize = lacing.iter().map(|l| usize::from(*l)).sum();
        let fits = rest.get(..wanted).filter(|_| rest.len() == wanted || rest[wanted..].starts_with(MAGIC));
        // Where the next page is not where it should be, this one ends at the next that can be found. Pages never
        // overlap, so no input makes more audio than it has bytes for.
        let body = fits.unwrap_or_else(|| {
            let rest = &rest[..find(rest, MAGIC).unwrap_or(rest.len())];
            &rest[..wanted.min(rest.len())]
        });
        let le = |at: usize| header[at..].iter().take(8).rev().fold(0u64, |sum, b| sum << 8 | u64::from(*b));
        let page = Page {
            serial: le(14) as u32,
            position: Some(le(6)).filter(|p| *p != u64::MAX),
            continued: header[5] & 1 != 0,
            first: header[5] & 2 != 0,
            last: header[5] & 4 != 0,
            lacing,
            body,
            whole: body.len() == wanted,
        };
        self.bytes = &rest[body.len()..];
        Some(page)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
