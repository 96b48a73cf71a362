//! Old Go services on the same NATS: their bytes, their subjects, their membership, and whatever they get wrong.

use crate::pipeline_support::{Echo, crew, identity, stores, wav};
use crate::services::nats::NatsServer;
use async_nats::{Client as Nats, Subscriber};
use beep_core::bite::{BiteKey, Label};
use beep_core::store::{BiteStore, Stores};
use beep_pipeline::Beep;
use beep_pipeline::bus::legacy::{
    Bite, Client, DataRequest, LegacyBridge, LegacyOptions, Response, ScanRequest, Store, Subject, key,
};
use bytes::Bytes;
use futures_util::StreamExt;
use proptest::prelude::*;
use prost::Message;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn client() -> Client {
    Client { key: "u-1".into(), client: "phone".into() }
}

fn bite() -> Bite {
    let data = Bytes::from_static(b"\0RIFF\xff");
    Bite { key: "c-1".into(), start: 1_500_000_000_000, data, client: Some(client()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// These bytes were written by Google's protobuf for Python from the original's definitions.
fn golden<M: Message + Default + PartialEq + Debug>(message: M, bytes: &str) {
    assert_eq!(hex(&message.encode_to_vec()), bytes);
    let bytes: Vec<u8> =
        (0..bytes.len()).step_by(2).map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap()).collect();
    assert_eq!(M::decode(&bytes[..]).unwrap(), message);
}

#[test]
fn every_message_has_the_bytes_of_the_original() {
    golden(client(), "0a03752d31120570686f6e65");
    golden(bite(), "0a03632d311080b0def7d32b1a060052494646ff220c0a03752d31120570686f6e65");
    golden(
        Bite { key: "c-1".into(), start: u64::MAX, ..Bite::default() },
        "0a03632d3110ffffffffffffffffff01",
    );
    golden(Bite::default(), "");
    golden(
        Store { r#type: "user".into(), bite: Some(bite()) },
        "0a047573657212220a03632d311080b0def7d32b1a060052494646ff220c0a03752d31120570686f6e65",
    );
    let message = key(&BiteKey::new(Label::Bite, "c-1".parse().unwrap(), u64::from(b'@')));
    golden(
        Response { code: 200, message, client: Some(client()) },
        "08c8011211626974652b632d314000000000000000401a0c0a03752d31120570686f6e65",
    );
    golden(Response { code: 404, message: "none".into(), client: None }, "08940312046e6f6e65");
    // A client that says nothing is still there: without it the original's `subscribe` dies.
    let nobody = Some(Client::default());
    golden(Response { code: 400, message: Bytes::new(), client: nobody }, "0890031a00");
    golden(
        DataRequest { key: "c-1".into(), start: 300, r#type: "transcription".into() },
        "0a03632d3110ac021a0d7472616e736372697074696f6e",
    );
    golden(
        ScanRequest { key: "c-1".into(), from: 1, to: 1 << 63, r#type: "bite".into() },
        "0a03632d3110011880808080808080808001220462697465",
    );
}

proptest! {
    #[test]
    fn protobuf_bite(bytes in proptest::collection::vec(any::<u8>(), 0..300), start: u64, data: Vec<u8>) {
        Bite::decode(&bytes[..]).ok();
        Store::decode(&bytes[..]).ok();
        Response::decode(&bytes[..]).ok();
        Client::decode(&bytes[..]).ok();
        DataRequest::decode(&bytes[..]).ok();
        ScanRequest::decode(&bytes[..]).ok();
        // What is nearly a message: a good one with something cut off, or bytes put over it.
        let store = Store { r#type: "bite".into(), bite: Some(Bite { start, data: data.into(), ..bite() }) };
        let mut good = store.encode_to_vec();
        prop_assert_eq!(&Store::decode(&good[..]).unwrap(), &store);
        let cut = start as usize % good.len();
        Store::decode(&good[..cut]).ok();
        for (at, byte) in bytes.iter().enumerate().take(8) {
            let at = (cut + at * 7) % good.len();
            good[at] = *byte;
        }
        Store::decode(&good[..]).ok();
    }
}

/// A pipeline with a bridge, and a plain client in the place of the old services.
struct Town {
    stores: Stores,
    beep: Beep,
    nats: Nats,
    /// What the old `subscribe` hears.
    told: Subscriber,
    bridge: LegacyBridge,
    server: NatsServer,
}

impl Town {
    /// The old services read as this user.
    async fn with_reader(reader: Option<&str>) -> Option<Self> {
        let server = NatsServer::start()?;
        let stores = stores().await;
        let beep = Beep::builder(stores.clone()).transcriber(Arc::new(Echo)).start().await.unwrap();
        let nats = async_nats::connect(server.address()).await.unwrap();
        let told = nats.subscribe("res").await.unwrap();
        nats.flush().await.unwrap();
        let options = LegacyOptions { url: server.url(""), reader: reader.map(identity), announce: true };
        let bridge = LegacyBridge::start(beep.clone(), options).await.unwrap();
        Some(Self { stores, beep, nats, told, bridge, server })
    }

    async fn publish(&self, subject: &str, message: &impl Message) {
        self.nats.publish(subject.to_owned(), message.encode_to_vec().into()).await.unwrap();
    }

    async fn told(&mut self) -> Response {
        let message = tokio::time::timeout(SOON, self.told.next()).await.expect("a response comes").unwrap();
        Response::decode(message.payload).unwrap()
    }

    async fn told_nothing(&mut self) {
        let told = tokio::time::timeout(Duration::from_millis(300), self.told.next()).await;
        assert!(told.is_err(), "{told:?}");
    }

    async fn ask(&self, subject: &str, message: &impl Message) -> Response {
        let asking = self.nats.request(subject.to_owned(), message.encode_to_vec().into());
        let reply = tokio::time::timeout(SOON, asking).await.expect("an answer comes").unwrap();
        Response::decode(reply.payload).unwrap()
    }

    async fn data(&self, label: &str, start: u64) -> Response {
        let request = DataRequest { key: crew().to_string(), start, r#type: label.into() };
        self.ask("request_store", &request).await
    }
}

/// Somebody's phone.
fn phone(user: &str) -> Option<Client> {
    Some(Client { key: user.into(), client: "phone".into() })
}

fn said(user: &str, start: u64, words: &str) -> Bite {
    Bite { key: crew().to_string(), start, data: wav(words).into(), client: phone(user) }
}

fn at(label: Label, start: u64) -> BiteKey {
    BiteKey::new(label, crew(), start)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_publish_and_an_old_subscribe_work_on_the_same_bus() {
    let Some(mut town) = Town::with_reader(Some("carol")).await else { return };
    town.publish("new_bite", &said("bob", 0x40, "over and out")).await;
    // As the old ones did: 200 and the key, first of the bite, then of its transcript.
    for label in [Label::Bite, Label::Transcription] {
        let told = town.told().await;
        assert_eq!((told.code, told.client), (200, phone("bob")));
        assert_eq!(told.message, key(&at(label, 0x40)));
    }
    let stored = town.stores.bites.get(&at(Label::Bite, 0x40)).await.unwrap().unwrap();
    assert_eq!((stored.meta.author, &stored.body[..]), (identity("bob"), &wav("over and out")[..]));

    town.publish("new_bite_user", &Bite { data: "a note".into(), ..said("bob", 0x40, "") }).await;
    assert_eq!(town.told().await.message, key(&at(Label::User, 0x40)));
    for (subject, start) in [("new_store", 0x50), ("store", 0x60)] {
        let bite = said("alice", start, "roger");
        town.publish(subject, &Store { r#type: "bite".into(), bite: Some(bite) }).await;
        for label in [Label::Bite, Label::Transcription] {
            let told = town.told().await;
            assert_eq!((told.code, told.message, told.client), (200, key(&at(label, start)), phone("alice")));
        }
    }

    // The old `bite` and `transcription` ask on behalf of their HTTP callers.
    let answer = town.data("bite", 0x40).await;
    assert_eq!((answer.code, &answer.message[..], answer.client), (200, &wav("over and out")[..], None));
    assert_eq!(town.data("transcription", 0x40).await.message, "over and out");
    assert_eq!(town.data("user", 0x40).await.message, "a note");
    assert_eq!(town.data("bite", 0x41).await.code, 404);
    assert_eq!(town.data("picture", 0x40).await.code, 400);
    let scan = |from, to| ScanRequest { key: crew().to_string(), from, to, r#type: "bite".into() };
    let list = town.ask("scan_store", &scan(0x41, 0x5f)).await;
    assert_eq!((list.code, &list.message[..]), (200, &br#"{"previous":64,"starts":[80],"next":96}"#[..]));
    let list = town.ask("scan_store", &scan(0, u64::MAX)).await;
    assert_eq!(&list.message[..], br#"{"previous":0,"starts":[64,80,96],"next":0}"#);
    assert_eq!(town.ask("scan_store", &scan(9, 1)).await.code, 400);
    town.told_nothing().await;
    town.beep.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_is_checked_for_whoever_the_message_names() {
    let Some(mut town) = Town::with_reader(Some("dave")).await else { return };
    let empty = Bite::default();
    for (bite, code) in [
        // A stranger; somebody who may only listen; nobody; a conversation and a user that are none.
        (said("dave", 1, "x"), 403),
        (said("carol", 2, "x"), 403),
        (Bite { client: None, ..said("bob", 3, "x") }, 401),
        (Bite { key: "c/../crew".into(), ..said("bob", 4, "x") }, 400),
        (said("b b", 5, "x"), 400),
        (
            Bite { client: Some(Client { key: "bob".into(), client: String::new() }), ..said("bob", 6, "x") },
            400,
        ),
        // Members with bytes that are none.
        (Bite { data: Bytes::new(), ..said("bob", 7, "") }, 422),
        (Bite { data: "text".into(), ..said("bob", 8, "") }, 415),
        (empty, 401),
    ] {
        town.publish("new_bite", &bite).await;
        let told = town.told().await;
        assert_eq!(
            (told.code, told.client),
            (code, Some(bite.client.clone().unwrap_or_default())),
            "{bite:?}"
        );
    }
    let transcript = Store { r#type: "transcription".into(), bite: Some(said("bob", 9, "x")) };
    for (store, code) in
        [(transcript, 501), (Store { r#type: "x".into(), bite: None }, 400), (Store::default(), 400)]
    {
        town.publish("new_store", &store).await;
        assert_eq!(town.told().await.code, code, "{store:?}");
    }
    assert_eq!(town.stores.bites.tail().await.unwrap(), 0, "nothing of that was stored");

    // What stands there stays: the original wrote over it (D5). The same again is no mistake.
    town.publish("new_bite", &said("bob", 10, "first")).await;
    assert_eq!(town.told().await.code, 200);
    assert_eq!(town.told().await.message, key(&at(Label::Transcription, 10)));
    town.publish("new_bite", &said("bob", 10, "second")).await;
    assert_eq!(town.told().await.code, 409);
    town.publish("new_bite", &said("bob", 10, "first")).await;
    assert_eq!((town.told().await.code, town.stores.bites.tail().await.unwrap()), (200, 2));

    // The reader that was named is not in this conversation, and where none is named nobody reads.
    assert_eq!(town.data("bite", 10).await.code, 403);
    town.told_nothing().await;
    let Some(closed) = Town::with_reader(None).await else { return };
    assert_eq!(closed.data("bite", 10).await.code, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subject_has_a_consumer() {
    let Some(mut town) = Town::with_reader(None).await else { return };
    for subject in Subject::ALL {
        if subject.is_heard() {
            // Without a consumer NATS would say so at once.
            assert_eq!(
                town.ask(subject.as_str(), &DataRequest::default()).await.code / 100,
                4,
                "{subject:?}"
            );
        } else {
            // The bridge says this to whoever listens there: the old `subscribe`.
            assert_eq!(subject, Subject::Response);
            town.publish("new_bite", &said("dave", 1, "x")).await;
            assert_eq!(town.told().await.code, 403);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_answered_and_ends_nothing() {
    let Some(mut town) = Town::with_reader(Some("bob")).await else { return };
    let noise =
        [&b"\xff"[..], b"\x0a\x7f", b"\x0a\x02\xff\xfe", b"\x22\x05\x0a", &[0x12; 9_000], &[0xff; 30]];
    for subject in Subject::ALL.into_iter().filter(|s| s.is_heard()) {
        for bytes in noise {
            let payload = Bytes::copy_from_slice(bytes);
            let reply = town.nats.request(subject.as_str(), payload.clone()).await.unwrap();
            assert_eq!(Response::decode(reply.payload).unwrap().code, 400, "{subject:?} {bytes:?}");
            if !matches!(subject, Subject::RequestStore | Subject::ScanStore) {
                town.nats.publish(subject.as_str(), payload).await.unwrap();
                let told = town.told().await;
                assert_eq!((told.code, told.client), (400, Some(Client::default())));
            }
        }
    }
    town.publish("new_bite", &said("bob", 1, "still here")).await;
    assert_eq!(town.told().await.code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_larger_than_nats_carries_is_refused_in_words() {
    let Some(town) = Town::with_reader(Some("bob")).await else { return };
    let words = "x".repeat(600_000);
    let grant = town
        .beep
        .gate()
        .check(&identity("bob"), &crew(), beep_core::permission::Action::Speak)
        .await
        .unwrap();
    let start = beep_core::store::Start::At(1);
    town.beep.record(&grant, beep_pipeline::Utterance::new(wav(&words), start)).await.unwrap();
    let answer = town.data("bite", 1).await;
    assert_eq!(answer.code, 413, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_nodes_one_takes_each_message() {
    let Some(mut town) = Town::with_reader(Some("bob")).await else { return };
    let options = LegacyOptions { url: town.server.url(""), reader: None, announce: false };
    let other = LegacyBridge::start(town.beep.clone(), options).await.unwrap();
    for start in 1..=40 {
        town.publish("new_bite", &said("dave", start, "x")).await;
        assert_eq!(town.told().await.code, 403);
    }
    town.told_nothing().await;
    drop((other, town.bridge));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_waits_for_its_nats_and_outlives_it() {
    let Some(mut server) = NatsServer::stopped() else { return };
    let stores = stores().await;
    let beep = Beep::builder(stores.clone()).start().await.unwrap();
    let options = LegacyOptions { url: server.url(""), reader: None, announce: true };
    let _bridge = LegacyBridge::start(beep.clone(), options).await.unwrap();
    for round in 1..=3 {
        server.restart();
        let nats = async_nats::connect(server.address()).await.unwrap();
        let mut told = nats.subscribe("res").await.unwrap();
        nats.flush().await.unwrap();
        let deadline = tokio::time::Instant::now() + SOON;
        // Until the bridge is there, NATS says that nobody listens.
        let request = said("bob", round, "x").encode_to_vec();
        while nats.request("new_bite", request.clone().into()).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "round {round}: the bridge does not come back");
        }
        let told = tokio::time::timeout(SOON, told.next()).await.expect("it is announced").unwrap();
        assert_eq!(Response::decode(told.payload).unwrap().message, key(&at(Label::Bite, round)));
        server.kill();
    }
    beep.shutdown().await;
}
