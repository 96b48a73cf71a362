//! What the pipeline tests share: a conversation in memory, grants, stores with faults, reading what became of it.

mod directory;
mod fakes;
mod faulty;

pub use directory::Moody;
pub use fakes::{Echo, wav};
pub use faulty::{Fate, Faulty};

use beep_core::bite::{BiteKey, Label};
use beep_core::clock::{ManualClock, System};
use beep_core::event::{Event, LogEntry};
use beep_core::id::{ConversationId, Identity};
use beep_core::permission::{Action, Gate, Grant};
use beep_core::store::{BiteStore, BiteStoreExt, NewConversation, NewUser, Role, Start, Stores};
use beep_core::transcript::Transcript;
use beep_pipeline::{Beep, Utterance};
use beep_storage::StorageConfig;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// The conversation of all these tests.
pub fn crew() -> ConversationId {
    "c-crew".parse().unwrap()
}

/// A user on a device called `phone`.
pub fn identity(user: &str) -> Identity {
    Identity { user: user.parse().unwrap(), device: "phone".parse().unwrap() }
}

/// Stores in memory with a conversation `c-crew`: owner `alice`, member `bob`, listener `carol`; `dave` is a stranger.
pub async fn stores() -> Stores {
    let stores = beep_storage::open(&StorageConfig::memory(), Arc::new(System)).await.unwrap();
    let directory = &stores.directory;
    for (n, name) in ["alice", "bob", "carol", "dave"].into_iter().enumerate() {
        let user = NewUser {
            id: name.parse().unwrap(),
            username: None,
            first_name: name.to_owned(),
            last_name: "Test".to_owned(),
            phone_number: format!("+659999000{n}"),
        };
        directory.create_user(user).await.unwrap();
    }
    let owner = "alice".parse().unwrap();
    let conversation = NewConversation { id: crew(), title: String::new(), picture: String::new(), owner };
    directory.create_conversation(conversation).await.unwrap();
    directory.put_member(&crew(), &"bob".parse().unwrap(), Role::Member).await.unwrap();
    directory.put_member(&crew(), &"carol".parse().unwrap(), Role::Listener).await.unwrap();
    stores
}

/// A clock that goes with the paused time of this test's runtime.
pub fn ticking() -> Arc<ManualClock> {
    const TICK: u64 = 100;
    let clock = Arc::new(ManualClock::at(1_000));
    let ticked = clock.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(TICK)).await;
            ticked.advance(TICK);
        }
    });
    clock
}

/// Bob's grant to speak, without asking the directory.
pub fn bob() -> Grant {
    Gate::operator(&crew(), identity("bob"), Action::Speak)
}

/// Bob says this at this start.
pub async fn say(beep: &Beep, start: u64, said: &str) -> beep_core::Result<beep_pipeline::Recorded> {
    beep.record(&bob(), Utterance::new(wav(said), Start::At(start))).await
}

/// The whole log.
pub async fn log(bites: &dyn BiteStore) -> Vec<LogEntry> {
    let mut all = Vec::new();
    let mut each = |entry| {
        all.push(entry);
        ControlFlow::Continue(())
    };
    bites.replay(0, &mut each).await.unwrap();
    all
}

/// How often the log says that a transcript was stored, by start.
pub async fn transcribed(bites: &dyn BiteStore) -> BTreeMap<u64, usize> {
    let mut count = BTreeMap::new();
    for entry in log(bites).await {
        if let Event::Stored { key, .. } = entry.event
            && key.label == Label::Transcription
        {
            *count.entry(key.start).or_default() += 1;
        }
    }
    count
}

/// The stored transcript's text.
pub async fn heard(bites: &dyn BiteStore, start: u64) -> Option<String> {
    let key = BiteKey::new(Label::Transcription, crew(), start);
    let record = bites.get(&key).await.unwrap()?;
    Some(serde_json::from_slice::<Transcript>(&record.body).unwrap().text)
}

/// Numbers that a seed decides.
#[derive(Debug)]
pub struct Dice(std::sync::Mutex<u64>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(std::sync::Mutex::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D))
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*state >> 33) * sides) >> 31
    }
}
