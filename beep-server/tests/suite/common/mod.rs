//! What the HTTP tests share: a server in this process on a port of its own, people with tokens, conversations.

mod client;
mod crew;
#[path = "../../../../beep-pipeline/tests/suite/pipeline_support/directory.rs"]
mod directory;
mod events;
#[path = "../../../../beep-pipeline/tests/suite/pipeline_support/fakes.rs"]
mod fakes;
#[path = "../../../../beep-pipeline/tests/suite/pipeline_support/faulty.rs"]
mod faulty;
pub mod raw;

pub use client::{Answer, Call, Pool};
pub use crew::Crew;
pub use directory::Moody;
pub use events::{Events, Sse};
pub use fakes::{Echo, wav, wav_of};
pub use faulty::{Fate, Faulty};

use beep_core::auth::Scope;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::bite::{Digest, Label};
use beep_core::clock::{Clock, System};
use beep_core::id::{ConversationId, Identity};
use beep_core::store::{NewBite, NewConversation, NewUser, Role, Start, Stores};
use beep_core::transcriber::Transcriber;
use beep_pipeline::Beep;
use beep_server::config::Http;
use beep_server::{App, Extras, serve};
use beep_storage::StorageConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here may take on a busy machine; what needs longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a server is made of; everything in memory, real time and no transcriber unless said.
pub struct Setup {
    pub http: Http,
    pub clock: Arc<dyn Clock>,
    pub transcriber: Option<Arc<dyn Transcriber>>,
    pub stores: Option<Stores>,
    pub lifetime: Duration,
    pub extras: Extras,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            http: Http::default(),
            clock: Arc::new(System),
            transcriber: None,
            stores: None,
            lifetime: Duration::from_secs(3_600),
            extras: Extras::default(),
        }
    }
}

/// A running server.
pub struct Server {
    pub app: App,
    pub address: SocketAddr,
    pub stores: Stores,
    /// The key that signs its tokens, for tokens that the server would never issue.
    pub key: SigningKey,
    pool: client::Pool,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
    phones: AtomicU64,
}

/// Somebody with a token.
#[derive(Clone, Debug)]
pub struct Person {
    pub identity: Identity,
    pub token: String,
}

impl Person {
    /// The id.
    pub fn id(&self) -> &str {
        self.identity.user.as_str()
    }
}

/// Stores in memory.
pub async fn memory() -> Stores {
    beep_storage::open(&StorageConfig::memory(), Arc::new(System)).await.unwrap()
}

/// The embedded stores in this folder.
pub async fn embedded(dir: &std::path::Path) -> Stores {
    beep_storage::open(&StorageConfig::embedded(dir), Arc::new(System)).await.unwrap()
}

/// An identity; the device is called `phone`.
pub fn identity(user: &str) -> Identity {
    Identity { user: user.parse().unwrap(), device: "phone".parse().unwrap() }
}

/// A conversation id.
pub fn conversation(key: &str) -> ConversationId {
    key.parse().unwrap()
}

/// A bite as a store takes it: any bytes, with no audio needed.
pub fn bite(key: &str, start: u64, author: &Identity, body: bytes::Bytes) -> NewBite {
    NewBite {
        label: Label::Bite,
        conversation: conversation(key),
        start: Start::At(start),
        author: author.clone(),
        media_type: "audio/wav".into(),
        duration_ms: None,
        sha256: Digest::of(&body),
        body,
        received: start,
        idempotency: None,
    }
}

impl Server {
    /// Starts one on a free port of the loopback.
    pub async fn start(setup: Setup) -> Self {
        let stores = match setup.stores {
            Some(stores) => stores,
            None => memory().await,
        };
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let config = JwtConfig { lifetime: setup.lifetime, leeway: Duration::ZERO, ..JwtConfig::default() };
        let jwt = Jwt::new(vec![key.clone()], config, setup.clock.clone(), Arc::new(System)).unwrap();
        let mut builder = Beep::builder(stores.clone()).clock(setup.clock).max_body(setup.http.max_body);
        let off = setup.transcriber.is_none().then(|| "this test has none".to_owned());
        if let Some(transcriber) = setup.transcriber {
            builder = builder.transcriber(transcriber);
        }
        let extras = Extras { transcription_off: off, ..setup.extras };
        let app = App::new(builder.start().await.unwrap(), Arc::new(jwt), setup.http, extras);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = serve(listener, app.clone(), async {
            stopped.await.ok();
        });
        let running = Some(tokio::spawn(serving));
        let phones = AtomicU64::new(6_590_000_000);
        Self { app, address, stores, key, pool: client::Pool::default(), stop: Some(stop), running, phones }
    }

    /// One as [`Setup`] has it by default.
    pub async fn plain() -> Self {
        Self::start(Setup::default()).await
    }

    /// One with these limits, where Alice owns `c-crew`.
    pub async fn hers(http: Http) -> (Self, Person) {
        let server = Self::start(Setup { http, ..Setup::default() }).await;
        let alice = server.person("alice").await;
        server.conversation("c-crew", &alice, &[]).await;
        (server, alice)
    }

    /// One that transcribes with [`Echo`].
    pub async fn echoing() -> Self {
        Self::start(Setup { transcriber: Some(Arc::new(Echo)), ..Setup::default() }).await
    }

    /// Begins to stop; the handle resolves when `serve` has returned.
    pub fn stop(&mut self) -> JoinHandle<()> {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.take().unwrap()
    }

    /// A new user with a token for a device called `phone`.
    pub async fn person(&self, name: &str) -> Person {
        let id = format!("u-{name}");
        self.stores
            .directory
            .create_user(NewUser {
                id: id.parse().unwrap(),
                username: None,
                first_name: name.to_owned(),
                last_name: "Test".to_owned(),
                phone_number: format!("+{}", self.phones.fetch_add(1, Ordering::Relaxed)),
            })
            .await
            .unwrap();
        let identity = identity(&id);
        Person { token: self.token(&identity), identity }
    }

    /// A token for this identity, good from now on.
    pub fn token(&self, identity: &Identity) -> String {
        self.app.issuer().issue(identity, Scope::User).unwrap()
    }

    /// The same person with a token of another scope.
    pub fn scoped(&self, person: &Person, scope: Scope) -> Person {
        let identity = person.identity.clone();
        Person { token: self.app.issuer().issue(&identity, scope).unwrap(), identity }
    }

    /// The number of a person in E.164.
    pub async fn number(&self, person: &Person) -> String {
        self.stores.directory.user(&person.identity.user).await.unwrap().unwrap().phone_number
    }

    /// The same person on another device.
    pub fn on_device(&self, person: &Person, device: &str) -> Person {
        let identity = Identity { user: person.identity.user.clone(), device: device.parse().unwrap() };
        Person { token: self.token(&identity), identity }
    }

    /// A new conversation.
    pub async fn conversation(&self, key: &str, owner: &Person, others: &[(&Person, Role)]) {
        let id = conversation(key);
        self.stores
            .directory
            .create_conversation(NewConversation {
                id: id.clone(),
                title: String::new(),
                picture: String::new(),
                owner: owner.identity.user.clone(),
            })
            .await
            .unwrap();
        for (person, role) in others {
            self.stores.directory.put_member(&id, &person.identity.user, *role).await.unwrap();
        }
    }

    /// Begins a request.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        Call::new(&self.pool, self.address, method, path)
    }

    /// A GET by this person.
    pub async fn get(&self, who: &Person, path: &str) -> Answer {
        self.call("GET", path).by(who).send().await
    }

    /// A request by this person with a JSON body.
    pub async fn ask(&self, who: &Person, method: &str, path: &str, body: serde_json::Value) -> Answer {
        self.call(method, path).by(who).body(body.to_string()).send().await
    }

    /// Publishes at this start; the answer is the caller's to judge.
    pub async fn put(&self, who: &Person, key: &str, start: u64, body: impl Into<bytes::Bytes>) -> Answer {
        self.call("PUT", &format!("/publish/conversation/{key}/start/{start}"))
            .by(who)
            .body(body)
            .send()
            .await
    }

    /// Publishes where the server says; the answer is the caller's to judge.
    pub async fn post(&self, who: &Person, key: &str, body: impl Into<bytes::Bytes>) -> Answer {
        self.call("POST", &format!("/publish/conversation/{key}")).by(who).body(body).send().await
    }

    /// Opens an event stream.
    pub async fn subscribe(&self, who: &Person, last_id: Option<u64>) -> Events {
        Events::open(self.address, &who.token, "", last_id).await
    }

    /// Waits until everything recorded is transcribed and indexed.
    pub async fn settle(&self) {
        tokio::time::timeout(PATIENCE, self.app.beep().settle())
            .await
            .expect("the pipeline settles")
            .unwrap();
    }

    /// Fails unless the server still answers.
    pub async fn assert_alive(&self) {
        assert_eq!(self.call("GET", "/healthz").send().await.status, 200);
    }
}

/// Waits until this holds, looking every few milliseconds; panics with `what` when it does not in time.
pub async fn eventually<F: Future<Output = bool>>(
    what: &str,
    within: Duration,
    mut holds: impl FnMut() -> F,
) {
    let deadline = Instant::now() + within;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bytes that are no audio.
pub fn garbage(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + 13) as u8 | 1).collect()
}
