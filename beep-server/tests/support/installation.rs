//! A data folder with people, a conversation, tokens and bites in it, made through the libraries.

use beep_core::auth::jwt::{Jwt, JwtConfig};
use beep_core::auth::{Scope, TokenIssuer};
use beep_core::bite::{Digest, Label};
use beep_core::clock::{Clock, System};
use beep_core::id::{ConversationId, Identity};
use beep_core::store::{NewBite, NewConversation, NewUser, Role, Start, Stores};
use beep_pipeline::workers::INDEX;
use beep_storage::{DataDir, StorageConfig};
use bytes::Bytes;
use futures_util::future::join_all;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// How many puts wait at once while a store is filled: enough for full group commits, fewer than are refused.
const WAITING: u64 = 2_048;

/// Somebody who may speak in the conversation.
#[derive(Clone)]
pub struct Person {
    pub identity: Identity,
    pub token: String,
}

/// The folder and who is in it. Nothing is kept open.
pub struct Installation {
    data: DataDir,
    storage: StorageConfig,
    pub conversation: ConversationId,
    pub people: Vec<Person>,
}

impl Installation {
    /// Makes so many people, all members of one conversation, in the embedded stores.
    pub fn create(dir: &Path, people: usize) -> Self {
        Self::create_in(dir, StorageConfig::embedded(dir), people)
    }

    /// The same in these stores; the folder keeps the keys of tokens.
    pub fn create_in(dir: &Path, storage: StorageConfig, people: usize) -> Self {
        let data = DataDir::new(dir);
        let mut made = Self { data, storage, conversation: "c-room".parse().unwrap(), people: Vec::new() };
        let jwt = made.jwt();
        made.people = (0..people)
            .map(|n| {
                let user = format!("u-{n:032x}").parse().unwrap();
                let identity = Identity { user, device: "phone".parse().unwrap() };
                Person { token: jwt.issue(&identity, Scope::User).unwrap(), identity }
            })
            .collect();
        made.with_stores(async |stores| {
            for (n, person) in made.people.iter().enumerate() {
                let user = NewUser {
                    id: person.identity.user.clone(),
                    username: None,
                    first_name: format!("Person {n}"),
                    last_name: String::new(),
                    phone_number: format!("+6591{n:06}"),
                };
                stores.directory.create_user(user).await.unwrap();
            }
        });
        made.open_room(&made.conversation, people);
        made
    }

    /// Makes a conversation whose members are the first so many people.
    pub fn open_room(&self, id: &ConversationId, members: usize) {
        let people = &self.people[..members];
        self.with_stores(async |stores| {
            let owner = people[0].identity.user.clone();
            let room =
                NewConversation { id: id.clone(), title: "Room".into(), picture: String::new(), owner };
            stores.directory.create_conversation(room).await.unwrap();
            for person in &people[1..] {
                stores.directory.put_member(id, &person.identity.user, Role::Member).await.unwrap();
            }
        });
    }

    pub fn dir(&self) -> &Path {
        self.data.path()
    }

    /// The variables that lead a server to these stores.
    pub fn settings(&self) -> Vec<(String, String)> {
        let StorageConfig { bites, directory, search, blobs, ephemeral, bodies } = &self.storage;
        let places = [
            ("BITES", bites),
            ("DIRECTORY", directory),
            ("SEARCH", search),
            ("BLOBS", blobs),
            ("EPHEMERAL", ephemeral),
            ("BODIES", bodies),
        ];
        places.map(|(name, url)| (format!("BEEP_STORE_{name}"), url.clone())).to_vec()
    }

    /// Who makes tokens that the server on this folder takes.
    pub fn jwt(&self) -> Jwt {
        self.data.jwt(JwtConfig::default(), Arc::new(System), Arc::new(System)).unwrap()
    }

    /// Opens the stores, does something with them, and closes them.
    pub fn with_stores<T>(&self, work: impl AsyncFnOnce(&Stores) -> T) -> T {
        runtime().block_on(async {
            let stores = beep_storage::open(&self.storage, Arc::new(System)).await.unwrap();
            work(&stores).await
        })
    }

    /// Stores `count` bites at `first`, `first + step`, …; `body` makes the bytes of each.
    pub fn fill(
        &self,
        conversation: &ConversationId,
        first: u64,
        step: u64,
        count: u64,
        body: impl Fn(u64) -> Bytes,
    ) {
        let author = &self.people[0].identity;
        let received = System.now();
        self.with_stores(async |stores| {
            let mut next = 0;
            while next < count {
                let until = count.min(next + WAITING);
                let puts = (next..until).map(|n| {
                    let body = body(n);
                    stores.bites.put(NewBite {
                        label: Label::Bite,
                        conversation: conversation.clone(),
                        start: Start::At(first + n * step),
                        author: author.clone(),
                        media_type: "audio/wav".into(),
                        duration_ms: Some(body.len() as u64 / 32),
                        sha256: Digest::of(&body),
                        body,
                        received,
                        idempotency: None,
                    })
                });
                join_all(puts).await.into_iter().for_each(|put| drop(put.unwrap()));
                next = until;
            }
            // There are no transcripts to index: without this every server would first read through the whole log.
            stores.bites.advance(INDEX, stores.bites.tail().await.unwrap()).await.unwrap();
        });
    }
}

/// For calls into the libraries.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A WAV file (16 kHz, 16 bit, mono) of exactly `size` bytes, at least 46; `fill` writes the samples.
pub fn wav(size: usize, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let length = u32::try_from(size - 44).unwrap();
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + length).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16u32.to_le_bytes());
    out.extend_from_slice(&1u16.to_le_bytes()); // PCM
    out.extend_from_slice(&1u16.to_le_bytes()); // one channel
    out.extend_from_slice(&16_000u32.to_le_bytes());
    out.extend_from_slice(&32_000u32.to_le_bytes());
    out.extend_from_slice(&2u16.to_le_bytes());
    out.extend_from_slice(&16u16.to_le_bytes());
    out.extend_from_slice(b"data");
    out.extend_from_slice(&length.to_le_bytes());
    out.resize(size, 0);
    fill(&mut out[44..]);
    out
}
