//! The laws of keys, ranges, ids and records, over everything that can be said with their types.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use beep_core::bite::{BiteKey, BiteMeta, Digest, Label, MAX_PAGE, ScanPage, ScanRange};
use beep_core::clock::Millis;
use beep_core::event::{Event, LogEntry};
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::{ErrorKind, clock};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Any time, half of them with an `@` (0x40) among their bytes: the separator that the original searched for.
fn start() -> impl Strategy<Value = Millis> {
    let with_at = (any::<[u8; 8]>(), vec(0..8usize, 1..8)).prop_map(|(mut bytes, places)| {
        places.into_iter().for_each(|i| bytes[i] = b'@');
        u64::from_be_bytes(bytes)
    });
    let edges = select(vec![0, 1, 0x40, 0x4040_4040_4040_4040, u64::MAX - 1, u64::MAX, u64::MAX >> 1]);
    prop_oneof![2 => any::<u64>(), 3 => with_at, 1 => edges]
}

fn label() -> impl Strategy<Value = Label> {
    select(Label::ALL.to_vec())
}

/// Any conversation; many are short, so that one is often the beginning of another.
fn conversation() -> impl Strategy<Value = ConversationId> {
    prop_oneof!["[A-Za-z0-9-]{1,64}", "[ab-]{1,4}", "c-[0-9a-f]{32}"]
        .prop_map(|text| ConversationId::parse(&text).expect("fits the rule"))
}

fn key() -> impl Strategy<Value = BiteKey> {
    (label(), conversation(), start()).prop_map(|(l, c, s)| BiteKey::new(l, c, s))
}

fn identity() -> impl Strategy<Value = Identity> {
    ("[A-Za-z0-9-]{1,64}", "[ -~]{1,128}").prop_map(|(user, device)| Identity {
        user: UserId::parse(&user).expect("fits the rule"),
        device: DeviceId::parse(&device).expect("fits the rule"),
    })
}

fn entry() -> impl Strategy<Value = LogEntry> {
    let event =
        (key(), identity(), any::<String>(), 0..3u8).prop_map(|(key, author, reason, kind)| match kind {
            0 => Event::Stored { key, author },
            1 => Event::Deleted { key, author },
            _ => Event::Failed { key, author, reason },
        });
    (any::<u64>(), start(), event).prop_map(|(seq, at, event)| LogEntry { seq, at, event })
}

fn meta() -> impl Strategy<Value = BiteMeta> {
    (identity(), any::<String>(), any::<Option<u64>>(), any::<u64>(), any::<[u8; 32]>(), start()).prop_map(
        |(author, media_type, duration_ms, bytes, sha256, received)| BiteMeta {
            author,
            media_type,
            duration_ms,
            bytes,
            sha256: Digest(sha256),
            received,
        },
    )
}

/// `^[A-Za-z0-9-]{1,64}$`, as api.md says it.
fn regular(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (1..=64).contains(&chars.len())
        && chars.iter().all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '-'))
}

/// Text around the edges of the rules for ids.
fn id_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[A-Za-z0-9-]{0,70}",
        "[ -~]{0,140}",
        "[ -~]{0,4}[\x1f\x7f\u{80}\t~ ][ -~]{0,4}",
        "[A-Za-z0-9-]{1,63}[@ _./\n\0é-]",
        "[@ _./\n\0é-][A-Za-z0-9-]{1,63}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// D6: every key is what its bytes say, whatever stands in the time.
    #[test]
    fn key_roundtrip(key in key()) {
        let bytes = key.encode();
        prop_assert_eq!(bytes.len(), 2 + key.conversation.as_str().len() + 8);
        prop_assert_eq!(BiteKey::decode(&bytes)?, key);
    }

    /// No bytes make decoding panic; what decodes has exactly these bytes; the rest is `Corrupt`.
    #[test]
    fn key_decode(bytes in vec(any::<u8>(), 0..90)) {
        match BiteKey::decode(&bytes) {
            Ok(key) => prop_assert_eq!(key.encode(), bytes),
            Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Corrupt),
        }
    }

    /// The same near keys: one byte changed, removed or added.
    #[test]
    fn key_decode_near_a_key(key in key(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), how in 0..3u8) {
        let mut bytes = key.encode();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
        match BiteKey::decode(&bytes) {
            Ok(other) => prop_assert_eq!(other.encode(), bytes),
            Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Corrupt),
        }
    }

    /// Within a label of a conversation, byte order is time order.
    #[test]
    fn byte_order_is_time_order(key in key(), other in start()) {
        let later = BiteKey { start: other, ..key.clone() };
        prop_assert_eq!(key.encode().cmp(&later.encode()), key.start.cmp(&later.start));
    }

    /// The keys that begin with a prefix are those of that label and conversation, and no other.
    #[test]
    fn prefixes_hold_their_own_keys_only(a in key(), b in key()) {
        let prefix = BiteKey::prefix(a.label, &a.conversation);
        prop_assert!(a.encode().starts_with(&prefix));
        let same = (a.label, &a.conversation) == (b.label, &b.conversation);
        prop_assert_eq!(b.encode().starts_with(&prefix), same);
        // Neither does the range from its first key to its last one hold any other.
        let [first, last] = [0, Millis::MAX].map(|start| BiteKey { start, ..a.clone() }.encode());
        prop_assert_eq!((first..=last).contains(&b.encode()), same);
    }

    /// A key under another label differs in nothing else.
    #[test]
    fn labelled_changes_the_label_only(key in key(), label in label()) {
        let other = key.labelled(label);
        prop_assert_eq!(other.label, label);
        prop_assert_eq!(other.labelled(key.label), key.clone());
        prop_assert_eq!(&other.encode()[1..], &key.encode()[1..]);
    }

    /// Users and conversations are what the regular expression says; errors are `Malformed` and do not echo.
    #[test]
    fn ids_follow_the_rule(text in id_text()) {
        let fit = regular(&text);
        for result in [ConversationId::parse(&text).map(String::from), UserId::parse(&text).map(String::from)] {
            match result {
                Ok(id) => prop_assert!(fit && id == text),
                Err(e) => prop_assert!(!fit && e.kind() == ErrorKind::Malformed),
            }
        }
        let device = (1..=128).contains(&text.chars().count()) && text.chars().all(|c| (' '..='~').contains(&c));
        match DeviceId::parse(&text) {
            Ok(id) => prop_assert!(device && id.as_str() == text),
            Err(e) => prop_assert!(!device && e.kind() == ErrorKind::Malformed),
        }
    }

    /// Every way to an id is the same way: parse, `FromStr`, JSON.
    #[test]
    fn ids_have_one_check(text in id_text()) {
        let json = serde_json::to_string(&text)?;
        let read = serde_json::from_str::<ConversationId>(&json);
        prop_assert_eq!(read.is_ok(), regular(&text));
        prop_assert_eq!(text.parse::<ConversationId>().is_ok(), regular(&text));
        if let Ok(id) = read {
            prop_assert_eq!(serde_json::to_string(&id)?, json);
            prop_assert_eq!(format!("{id} {id:?}"), format!("{text} {text}"));
        }
    }

    /// Ids made here follow their own rule, and the same randomness gives the same id.
    #[test]
    fn random_ids_follow_the_rule(seed in any::<u64>()) {
        let source = || clock::SeededEntropy::new(seed);
        let (user, conversation) = (UserId::random(&source())?, ConversationId::random(&source())?);
        prop_assert!(user.as_str().starts_with("u-") && conversation.as_str().starts_with("c-"));
        prop_assert_eq!(&user.as_str()[2..], &conversation.as_str()[2..]);
        prop_assert!(user.as_str().len() == 34 && user.as_str()[2..].chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
        let source = source();
        prop_assert_ne!(UserId::random(&source)?, UserId::random(&source)?);
    }

    /// A range is never empty, its limit never 0 nor above a page.
    #[test]
    fn ranges_are_sound(from in start(), to in start(), limit in prop_oneof![0..3usize, 0..3_000usize, any::<usize>()]) {
        match ScanRange::new(from, to, limit) {
            Ok(range) => {
                prop_assert!(from <= to);
                prop_assert_eq!((range.from(), range.to()), (from, to));
                prop_assert_eq!(range.limit(), limit.clamp(1, MAX_PAGE));
            }
            Err(e) => prop_assert!(from > to && e.kind() == ErrorKind::Malformed),
        }
    }

    /// What is behind a start of a page is exactly the later part of the range: nothing twice, nothing left out.
    #[test]
    fn after_is_the_rest(mut times in [start(), start(), start()], limit in 1..=MAX_PAGE, probe in start()) {
        times.sort_unstable();
        let [from, start, to] = times;
        let range = ScanRange::new(from, to, limit)?;
        let rest = range.after(start);
        let holds = |range: &ScanRange, t| (range.from()..=range.to()).contains(&t);
        for probe in [probe, start, start.saturating_add(1), to] {
            let later = holds(&range, probe) && probe > start;
            prop_assert_eq!(rest.as_ref().is_some_and(|r| holds(r, probe)), later, "{}", probe);
        }
        prop_assert_eq!(rest.is_none(), start == to);
        if let Some(rest) = rest {
            prop_assert_eq!((rest.to(), rest.limit()), (to, limit));
        }
    }

    /// Turning pages while they say that they continue lists every start of the range once, in order.
    #[test]
    fn pages_list_everything_once(mut starts in vec(0..200u64, 0..60), from in 0..200u64, len in 0..200u64, limit in 1..7usize) {
        starts.sort_unstable();
        starts.dedup();
        let range = ScanRange::new(from, from + len, limit)?;
        let (mut listed, mut rest) = (Vec::new(), Some(range));
        while let Some(range) = rest {
            let page = page(&starts, &range);
            prop_assert!(page.starts.len() <= limit);
            listed.extend_from_slice(&page.starts);
            prop_assert!(listed.len() <= starts.len(), "turns in circles");
            let last = page.starts.last().copied();
            rest = last.filter(|_| page.continues(&range)).and_then(|last| range.after(last));
            prop_assert_eq!(page.continues(&range), page.next.is_some_and(|n| n <= range.to()));
        }
        let wanted: Vec<_> = starts.into_iter().filter(|s| (from..=from + len).contains(s)).collect();
        prop_assert_eq!(listed, wanted);
    }

    /// A digest reads as 64 hex digits that say its bytes, and no two read alike.
    #[test]
    fn digest_display(bytes in any::<[u8; 32]>()) {
        let text = Digest(bytes).to_string();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        prop_assert_eq!(&text, &hex);
        prop_assert_eq!(format!("{:?}", Digest(bytes)), hex);
    }

    /// Records are the same after JSON, which is how they travel.
    #[test]
    fn records_survive_json(entry in entry(), meta in meta(), key in key()) {
        prop_assert_eq!(serde_json::from_slice::<LogEntry>(&serde_json::to_vec(&entry)?)?, entry);
        prop_assert_eq!(serde_json::from_slice::<BiteMeta>(&serde_json::to_vec(&meta)?)?, meta);
        prop_assert_eq!(serde_json::from_slice::<BiteKey>(&serde_json::to_vec(&key)?)?, key);
    }

    /// A record from elsewhere is checked as it is read: no id gets in unchecked.
    #[test]
    fn records_check_their_ids(entry in entry(), text in id_text()) {
        let mut json = serde_json::to_value(&entry)?;
        let event = json["event"].as_object_mut().and_then(|e| e.values_mut().next()).expect("one event");
        event["key"]["conversation"] = text.clone().into();
        prop_assert_eq!(serde_json::from_value::<LogEntry>(json).is_ok(), regular(&text));
    }

    /// An event is about one key and one author, whichever kind it is.
    #[test]
    fn events_know_what_they_are_about(entry in entry()) {
        let (Event::Stored { key, author } | Event::Deleted { key, author } | Event::Failed { key, author, .. }) = &entry.event
        else { unreachable!("the kinds made above") };
        prop_assert_eq!((entry.event.key(), entry.event.author()), (key, author));
        let stored = matches!(entry.event, Event::Stored { .. });
        prop_assert_eq!(entry.event.is_new_bite(), stored && key.label == Label::Bite);
    }
}

/// What any store answers, by the bullets on [`ScanPage`].
fn page(all: &[Millis], range: &ScanRange) -> ScanPage {
    let inside = all.iter().copied().filter(|s| (range.from()..=range.to()).contains(s));
    let starts: Vec<_> = inside.take(range.limit()).collect();
    let behind = match starts.last() {
        Some(last) if starts.len() == range.limit() => *last,
        _ => range.to(),
    };
    ScanPage {
        previous: all.iter().copied().rfind(|s| *s < range.from()),
        next: all.iter().copied().find(|s| *s > behind),
        starts,
    }
}

#[test]
fn the_end_of_time_has_nothing_behind_it() {
    assert_eq!(ScanRange::all().after(Millis::MAX), None);
    assert_eq!(ScanRange::all().after(Millis::MAX - 1).map(|r| r.from()), Some(Millis::MAX));
    let page = ScanPage { next: Some(Millis::MAX), ..ScanPage::default() };
    assert!(page.continues(&ScanRange::all()));
    assert!(!ScanPage::default().continues(&ScanRange::all()));
}

/// D6 as it happened: a second whose bytes hold 0x40 in any place.
#[test]
fn every_byte_of_the_time_may_be_an_at_sign() {
    for place in 0..8 {
        for low in [0u64, 0x3f, 0x40, 0x41, 0xff] {
            let start = 0x40u64 << (place * 8) | low;
            let key = BiteKey::new(Label::Bite, "a-40-".parse().unwrap(), start);
            assert_eq!(BiteKey::decode(&key.encode()).unwrap(), key);
        }
    }
}

/// The layout is on disk: it may not change by accident.
#[test]
fn the_layout_is_fixed() {
    let key = BiteKey::new(Label::Transcription, "c-1".parse().unwrap(), 0x0102_0304_0506_0708);
    assert_eq!(key.encode(), b"\x03\x03c-1\x01\x02\x03\x04\x05\x06\x07\x08");
    assert_eq!(key.to_string(), "transcription/c-1/72623859790382856");
    assert_eq!(Label::ALL.map(|l| l as u8), [1, 2, 3]);
    for label in Label::ALL {
        assert_eq!(Label::parse(label.as_str()).unwrap(), label);
        assert_eq!(serde_json::to_value(label).unwrap(), label.as_str());
    }
    for wrong in ["", "Bite", "bite ", "store"] {
        assert_eq!(Label::parse(wrong).unwrap_err().kind(), ErrorKind::Malformed);
    }
}

#[test]
fn a_digest_is_sha256() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::of(b"").to_string(), empty);
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Digest::of(b"abc").to_string(), abc);
}
