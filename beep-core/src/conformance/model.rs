//! Random sequences of calls, applied to a bite store and to a model so simple that it is right at sight.

use super::bites::{Store, conversation, who};
use super::run::Dice;
use crate::ErrorKind;
use crate::bite::{BiteKey, Digest, Label, ScanPage, ScanRange};
use crate::clock::Millis;
use crate::event::Event;
use crate::id::Identity;
use crate::store::{NewBite, Start};
use bytes::Bytes;
use std::collections::BTreeMap;

/// How many calls one sequence has.
const CALLS: usize = 400;
const SEEDS: [u64; 3] = [1, 2, 3];

/// What a put does: the key and whether it is new, or why not.
type Outcome = Result<(BiteKey, bool), ErrorKind>;

#[derive(Default)]
struct Model {
    records: BTreeMap<Vec<u8>, (Identity, Bytes)>,
    events: Vec<Event>,
    parked: BTreeMap<Vec<u8>, String>,
    names: BTreeMap<[u8; 32], (Millis, Digest, BiteKey)>,
    cursors: BTreeMap<&'static str, u64>,
}

impl Model {
    fn put(&mut self, new: &NewBite) -> Outcome {
        const DAY: Millis = 86_400_000;
        if let Some((at, digest, key)) = new.idempotency.and_then(|n| self.names.get(&n.0))
            && at.abs_diff(new.received) < DAY
        {
            return if *digest == new.sha256 { Ok((key.clone(), false)) } else { Err(ErrorKind::Conflict) };
        }
        let mut key = BiteKey::new(new.label, new.conversation.clone(), 0);
        match new.start {
            Start::At(start) => key.start = start,
            Start::Next(from) => {
                key.start = from;
                while self.records.contains_key(&key.encode()) {
                    key.start += 1;
                }
            }
        }
        let bite = self.records.get(&key.labelled(Label::Bite).encode());
        if new.label != Label::Bite && bite.is_none() {
            return Err(ErrorKind::NotFound);
        }
        if let Some((author, body)) = self.records.get(&key.encode()) {
            let same = *author == new.author && *body == new.body;
            return if same { Ok((key, false)) } else { Err(ErrorKind::Conflict) };
        }
        let author = bite.map_or_else(|| new.author.clone(), |(author, _)| author.clone());
        self.records.insert(key.encode(), (new.author.clone(), new.body.clone()));
        self.events.push(Event::Stored { key: key.clone(), author });
        if let Some(name) = new.idempotency {
            self.names.insert(name.0, (new.received, new.sha256, key.clone()));
        }
        if new.label == Label::Transcription {
            self.parked.remove(&key.labelled(Label::Bite).encode());
        }
        Ok((key, true))
    }

    fn delete(&mut self, key: &BiteKey) -> bool {
        let Some((author, _)) = self.records.remove(&key.encode()) else { return false };
        for label in Label::ALL {
            self.records.remove(&key.labelled(label).encode());
        }
        self.parked.remove(&key.encode());
        self.events.push(Event::Deleted { key: key.clone(), author });
        true
    }

    fn park(&mut self, key: &BiteKey, reason: &str) -> bool {
        let Some((author, _)) = self.records.get(&key.encode()) else { return false };
        let event = Event::Failed { key: key.clone(), author: author.clone(), reason: reason.into() };
        self.events.push(event);
        self.parked.insert(key.encode(), reason.into());
        true
    }

    fn scan(&self, key: &BiteKey, range: ScanRange) -> ScanPage {
        let of = |k: &[u8]| {
            BiteKey::decode(k).ok().filter(|k| (k.label, &k.conversation) == (key.label, &key.conversation))
        };
        let all: Vec<Millis> = self.records.keys().filter_map(|k| of(k)).map(|k| k.start).collect();
        let inside = all.iter().copied().filter(|s| (range.from()..=range.to()).contains(s));
        let starts: Vec<_> = inside.take(range.limit()).collect();
        let full = starts.len() == range.limit();
        let behind = if full { starts.last().copied() } else { None }.unwrap_or(range.to());
        ScanPage {
            previous: all.iter().copied().rfind(|s| *s < range.from()),
            next: all.iter().copied().find(|s| *s > behind),
            starts,
        }
    }
}

/// Few places, so that calls meet: conflicts, repetitions, holes, labels without bites.
struct Calls {
    dice: Dice,
    /// Hours pass, so that names of puts are forgotten.
    now: Millis,
}

impl Calls {
    fn key(&mut self) -> BiteKey {
        let name = self.dice.pick(&["c", "c-1", "c-10"]);
        BiteKey::new(self.dice.pick(&Label::ALL), conversation(name), self.dice.roll(12))
    }

    fn put(&mut self) -> NewBite {
        self.now += self.dice.roll(8) * 3_600_000;
        let key = self.key();
        let body =
            Bytes::from(format!("{}", self.dice.roll(2)).repeat(1 + 3_000 * self.dice.roll(2) as usize));
        NewBite {
            label: key.label,
            conversation: key.conversation,
            start: if self.dice.roll(3) == 0 { Start::Next(key.start) } else { Start::At(key.start) },
            author: who(self.dice.pick(&["u-1", "u-2"])),
            media_type: "audio/wav".into(),
            duration_ms: None,
            sha256: Digest::of(&body),
            body,
            received: self.now,
            idempotency: (self.dice.roll(4) == 0).then(|| Digest::of(&[self.dice.roll(6) as u8])),
        }
    }
}

/// After every call both say the same; at the end their whole contents are compared.
pub async fn any_sequence_of_calls_does_what_the_model_does(store: Store) {
    // The same store for every sequence: the model remembers all of them.
    let mut model = Model::default();
    let mut calls = Calls { dice: Dice(0), now: 1_700_000_000_000 };
    for seed in SEEDS {
        calls.dice = Dice(seed);
        for call in 0..CALLS {
            step(&store, &mut model, &mut calls, &format!("seed {seed}, call {call}")).await;
        }
    }
    let log = store.log(0, 10_000).await.expect("reading the log succeeds");
    assert!(log.iter().map(|e| &e.event).eq(&model.events), "the logs differ");
    for (place, (author, body)) in &model.records {
        let key = BiteKey::decode(place).expect("a key");
        let bite = store.get(&key).await.expect("a read succeeds").expect("the model has it");
        assert_eq!((&bite.meta.author, &bite.body), (author, body), "{key}");
    }
    let page = store.verify(None, 100_000).await.expect("a verification succeeds");
    assert_eq!((page.checked as usize, page.corrupt.len()), (model.records.len(), 0));
    let parked = store.parked(10_000).await.expect("a read succeeds");
    assert!(parked.iter().map(|p| (p.key.encode(), p.reason.clone())).eq(model.parked));
}

async fn step(store: &Store, model: &mut Model, calls: &mut Calls, at: &str) {
    match calls.dice.roll(10) {
        0..=4 => {
            let new = calls.put();
            let done = store.put(new.clone()).await;
            let done = done.map(|put| (put.key, put.entry.is_some())).map_err(|e| e.kind());
            assert_eq!(done, model.put(&new), "{at}: {new:?}");
        }
        5 => {
            let key = calls.key().labelled(Label::Bite);
            let gone = store.delete(&key.conversation, key.start, 7).await.expect("deleting succeeds");
            assert_eq!(gone.is_some(), model.delete(&key), "{at}: delete {key}");
        }
        6 => {
            let key = calls.key().labelled(Label::Bite);
            let parked = store.park(&key, at, 7).await.expect("parking succeeds");
            assert_eq!(parked.is_some(), model.park(&key, at), "{at}: park {key}");
        }
        7 => {
            let (group, seq) = (calls.dice.pick(&["a", "b"]), calls.dice.roll(1_000));
            store.advance(group, seq).await.expect("advancing succeeds");
            let cursor = model.cursors.entry(group).or_default();
            *cursor = seq.max(*cursor);
            assert_eq!(store.cursor(group).await.expect("a read succeeds"), *cursor, "{at}");
        }
        8 => {
            let (key, width) = (calls.key(), calls.dice.roll(12));
            let range = ScanRange::new(key.start, key.start + width, 1 + calls.dice.roll(5) as usize)
                .expect("a range");
            let page = store.scan(key.label, &key.conversation, range).await.expect("a scan succeeds");
            assert_eq!(page, model.scan(&key, range), "{at}: {range:?} of {key}");
        }
        _ => {
            let key = calls.key();
            let body = store.get(&key).await.expect("a read succeeds").map(|bite| bite.body);
            assert_eq!(
                body.as_ref(),
                model.records.get(&key.encode()).map(|(_, body)| body),
                "{at}: get {key}"
            );
        }
    }
}
