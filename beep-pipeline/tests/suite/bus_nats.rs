//! The bus between nodes, on a NATS server of each test's own: heard by all, never waited for, mended after anything.

use crate::services::nats::NatsServer;
use async_nats::jetstream;
use async_trait::async_trait;
use beep_core::bite::{BiteKey, Label};
use beep_core::bus::{Bus, Signal, Subscription};
use beep_core::conformance::bus::UnderTest;
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::id::Identity;
use beep_core::{ErrorKind, Result};
use beep_pipeline::bus::nats::decode;
use beep_pipeline::bus::{MemoryBus, NatsBus, open};
use futures_util::StreamExt;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn stored(seq: Seq) -> LogEntry {
    let key = BiteKey::new(Label::Bite, "c-1".parse().unwrap(), seq);
    let author = Identity { user: "u-1".parse().unwrap(), device: "phone".parse().unwrap() };
    LogEntry { seq, at: seq, event: Event::Stored { key, author } }
}

/// Publishes on one node and listens on another.
#[derive(Debug)]
struct TwoNodes(NatsBus, NatsBus);

#[async_trait]
impl Bus for TwoNodes {
    async fn publish(&self, entry: &LogEntry) -> Result<()> {
        self.0.publish(entry).await
    }
    async fn subscribe(&self) -> Result<Box<dyn Subscription>> {
        self.1.subscribe().await
    }
}

fn on(bus: impl Bus + 'static, server: Option<NatsServer>) -> (UnderTest, Option<NatsServer>) {
    (UnderTest { bus: Arc::new(bus), sleep: |by| Box::pin(tokio::time::sleep(by)) }, server)
}

/// Where there is no NATS, said aloud, the suite runs on another bus: its tests cannot end early.
async fn fresh(two: bool) -> (UnderTest, Option<NatsServer>) {
    let Some(server) = NatsServer::start() else { return on(MemoryBus::default(), None) };
    let one = NatsBus::open(&server.url("")).await.unwrap();
    if two {
        let other = NatsBus::open(&server.url("")).await.unwrap();
        return on(TwoNodes(one, other), Some(server));
    }
    on(one, Some(server))
}

async fn one_node() -> (UnderTest, Option<NatsServer>) {
    fresh(false).await
}

async fn two_nodes() -> (UnderTest, Option<NatsServer>) {
    fresh(true).await
}

async fn opened() -> (UnderTest, Option<NatsServer>) {
    let Some(server) = NatsServer::start() else { return on(MemoryBus::default(), None) };
    let bus = open(&server.url("stream=OPENED&prefix=opened.here")).await.unwrap();
    on(Box::new(bus) as Box<dyn Bus>, Some(server))
}

mod on_one_node {
    beep_core::bus_suite!(super::one_node);
}
mod between_nodes {
    beep_core::bus_suite!(super::two_nodes);
}
mod in_a_box {
    beep_core::bus_suite!(super::opened);
}

const SOON: Duration = Duration::from_secs(5);

/// Whether it hears, within this time, that the log reaches so far, or that it has to look.
async fn hears(subscription: &mut dyn Subscription, seq: Seq, within: Duration) -> bool {
    let listening = async {
        loop {
            match subscription.next().await {
                Signal::Grown(reached) if reached < seq => {}
                signal => return signal != Signal::Closed,
            }
        }
    };
    tokio::time::timeout(within, listening).await.unwrap_or(false)
}

/// Passes over what was heard already.
async fn drain(subscription: &mut dyn Subscription) {
    while tokio::time::timeout(Duration::from_millis(300), subscription.next()).await.is_ok() {}
}

async fn publish(bus: &NatsBus, seq: Seq) {
    let begun = Instant::now();
    bus.publish(&stored(seq)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "publishing took {:?}", begun.elapsed());
}

/// A plain client of the same server.
async fn plain(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.address()).await.unwrap())
}

/// A Gap first, if there is one, then what was really published: the bus works again, not only the alarm.
async fn works(from: &NatsBus, to: &mut dyn Subscription, seq: &mut Seq) {
    let deadline = Instant::now() + SOON;
    loop {
        *seq += 1;
        publish(from, *seq).await;
        let heard = tokio::time::timeout(Duration::from_millis(500), to.next()).await;
        if heard == Ok(Signal::Grown(*seq)) {
            return;
        }
        assert!(Instant::now() < deadline, "the other node hears nothing: {heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_is_heard_again() {
    let Some(mut server) = NatsServer::start() else { return };
    let restarts = std::env::var("BEEP_RESTARTS").map_or(5, |n| n.parse().unwrap());
    let here = Arc::new(NatsBus::open(&server.url("")).await.unwrap());
    let there = NatsBus::open(&server.url("")).await.unwrap();
    let mut listening = there.subscribe().await.unwrap();
    let publishing = tokio::spawn({
        let here = here.clone();
        async move {
            for seq in 1.. {
                publish(&here, seq).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    for round in 0..restarts {
        assert!(hears(&mut *listening, 1, SOON).await, "round {round}");
        if round % 2 == 0 {
            server.kill()
        } else {
            server.stop()
        }
        // Longer and longer, so that it is also away for several tries to connect.
        tokio::time::sleep(Duration::from_millis(100 + 200 * (round % 5))).await;
        drain(&mut *listening).await;
        server.restart();
        assert!(hears(&mut *listening, 1, SOON).await, "round {round}: nothing is heard after the restart");
    }
    publishing.abort();
    assert!(publishing.await.unwrap_err().is_cancelled(), "a publish failed or took too long");
    works(&here, &mut *listening, &mut 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_server_gets_its_stream_again() {
    let Some(mut server) = NatsServer::start() else { return };
    let here = NatsBus::open(&server.url("")).await.unwrap();
    let there = NatsBus::open(&server.url("")).await.unwrap();
    let mut listening = there.subscribe().await.unwrap();
    let mut seq = 0;
    works(&here, &mut *listening, &mut seq).await;
    for _ in 0..2 {
        server.kill();
        server.wipe();
        // Nobody hears this over NATS; the gap stands for it.
        seq += 1;
        publish(&here, seq).await;
        server.restart();
        assert!(hears(&mut *listening, seq, SOON).await);
        works(&here, &mut *listening, &mut seq).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_or_emptied_stream_is_noticed_by_who_only_listens() {
    let Some(server) = NatsServer::start() else { return };
    let here = NatsBus::open(&server.url("")).await.unwrap();
    let there = NatsBus::open(&server.url("")).await.unwrap();
    let mut listening = there.subscribe().await.unwrap();
    let mut seq = 0;
    works(&here, &mut *listening, &mut seq).await;
    let operator = plain(&server).await;
    for _ in 0..3 {
        operator.delete_stream("BEEP_LOG").await.unwrap();
        assert_eq!(tokio::time::timeout(SOON, listening.next()).await, Ok(Signal::Gap));
        works(&here, &mut *listening, &mut seq).await;
        operator.get_stream("BEEP_LOG").await.unwrap().purge().await.unwrap();
        works(&here, &mut *listening, &mut seq).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_without_its_server_and_finds_it_later() {
    let Some(mut server) = NatsServer::stopped() else { return };
    let begun = Instant::now();
    let here = NatsBus::open(&server.url("")).await.unwrap();
    let there = NatsBus::open(&server.url("")).await.unwrap();
    assert!(begun.elapsed() < SOON, "starting took {:?}", begun.elapsed());
    let mut own = here.subscribe().await.unwrap();
    let mut listening = there.subscribe().await.unwrap();
    for seq in 1..=5_000 {
        publish(&here, seq).await;
    }
    assert!(hears(&mut *own, 5_000, Duration::from_millis(500)).await, "a node hears itself without NATS");
    server.restart();
    assert!(hears(&mut *listening, 5_000, SOON).await);
    works(&here, &mut *listening, &mut 6_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_bounds_itself_and_says_what_it_is() {
    let Some(server) = NatsServer::start() else { return };
    let bus = NatsBus::open(&server.url("stream=CREW&prefix=crew.one")).await.unwrap();
    let operator = plain(&server).await;
    let stream = operator.get_stream("CREW").await.unwrap();
    let config = &stream.cached_info().config;
    assert_eq!(config.subjects, ["crew.one.log.>"]);
    assert!(config.max_age <= Duration::from_secs(3_600) && !config.max_age.is_zero());
    assert!((1..=64 << 20).contains(&config.max_bytes) && (1..=100_000).contains(&config.max_messages));
    let mut messages =
        async_nats::connect(server.address()).await.unwrap().subscribe("crew.one.>").await.unwrap();
    operator.client().flush().await.unwrap();
    let entry = stored(7);
    bus.publish(&entry).await.unwrap();
    let message = tokio::time::timeout(SOON, messages.next()).await.unwrap().unwrap();
    assert_eq!(message.subject.as_str(), "crew.one.log.bite");
    assert_eq!(message.headers.unwrap().get("Nats-Msg-Id").unwrap().as_str(), "crew.one-7");
    assert_eq!(serde_json::from_slice::<LogEntry>(&message.payload).unwrap(), entry);
}

#[tokio::test(flavor = "multi_thread")]
async fn installations_on_one_server_do_not_hear_each_other() {
    let Some(server) = NatsServer::start() else { return };
    let ours = NatsBus::open(&server.url("stream=OURS&prefix=ours")).await.unwrap();
    let ours_too = NatsBus::open(&server.url("stream=OURS&prefix=ours")).await.unwrap();
    let theirs = NatsBus::open(&server.url("stream=THEIRS&prefix=theirs")).await.unwrap();
    let mut near = ours_too.subscribe().await.unwrap();
    let mut far = theirs.subscribe().await.unwrap();
    for seq in 1..=100 {
        publish(&ours, seq).await;
    }
    assert!(hears(&mut *near, 100, SOON).await);
    // What would be heard of the others is on the same server before this.
    publish(&theirs, 7).await;
    assert_eq!(tokio::time::timeout(SOON, far.next()).await, Ok(Signal::Grown(7)));
    assert!(tokio::time::timeout(Duration::from_millis(300), far.next()).await.is_err());
    // A stream of that name with other subjects is not taken for ours: it works alone.
    let confused = NatsBus::open(&server.url("stream=OURS&prefix=other")).await.unwrap();
    let mut alone = confused.subscribe().await.unwrap();
    publish(&confused, 9).await;
    assert_eq!(alone.next().await, Signal::Grown(9));
    assert!(tokio::time::timeout(Duration::from_millis(300), near.next()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_twice_is_in_the_stream_once() {
    let Some(server) = NatsServer::start() else { return };
    let nodes =
        [NatsBus::open(&server.url("")).await.unwrap(), NatsBus::open(&server.url("")).await.unwrap()];
    let listener = NatsBus::open(&server.url("")).await.unwrap();
    let mut listening = listener.subscribe().await.unwrap();
    for seq in 1..=50 {
        for node in &nodes {
            publish(node, seq).await;
            publish(node, seq).await;
        }
    }
    assert!(hears(&mut *listening, 50, SOON).await);
    // Sent after all of them, on the same connections.
    publish(&nodes[0], 51).await;
    publish(&nodes[1], 52).await;
    assert!(hears(&mut *listening, 52, SOON).await);
    let operator = plain(&server).await;
    let deadline = Instant::now() + SOON;
    loop {
        let count = operator.get_stream("BEEP_LOG").await.unwrap().cached_info().state.messages;
        assert!(count <= 52, "{count} messages for 52 entries");
        if count == 52 {
            return;
        }
        assert!(Instant::now() < deadline, "{count} of 52 messages");
    }
}

/// What nobody of ours wrote: noise, JSON of other shapes, entries of a version to come.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "\\PC{0,60}".prop_map(String::into_bytes),
        r#"\{"seq":(-?[0-9]{1,25}|"x"|null|\[\[\[\[)(,"at":[0-9]{1,3})?\}?"#.prop_map(String::into_bytes),
        Just(vec![b'['; 100_000]),
        (0..u64::MAX)
            .prop_map(|seq| format!(r#"{{"seq":{seq},"at":1,"event":{{"Sung":{{}}}}}}"#).into_bytes()),
    ]
}

proptest! {
    /// Nothing on the subject can make a node panic (C6 in the original: a message killed the process).
    #[test]
    fn bus_decode(bytes in noise()) {
        match decode(&bytes) {
            Ok(seq) => prop_assert!(String::from_utf8(bytes).unwrap().contains(&seq.to_string())),
            Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Malformed),
        }
    }

    #[test]
    fn what_was_published_is_decoded(seq: u64) {
        prop_assert_eq!(decode(&serde_json::to_vec(&stored(seq)).unwrap()).unwrap(), seq);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_lies_on_our_subjects_do_not_stop_the_bus() {
    let Some(server) = NatsServer::start() else { return };
    let here = NatsBus::open(&server.url("")).await.unwrap();
    let there = NatsBus::open(&server.url("")).await.unwrap();
    let mut listening = there.subscribe().await.unwrap();
    let stranger = plain(&server).await;
    let noise =
        [&b""[..], b"\xff\xfe", b"{}", b"[1]", b"{\"seq\":-1}", b"{\"seq\":1e99}", b"null", &[b'{'; 5_000]];
    for (n, bytes) in (0..200).flat_map(|_| noise).enumerate() {
        let payload = bytes::Bytes::copy_from_slice(bytes);
        stranger.publish(format!("beep.log.{}", n % 7), payload).await.unwrap().await.unwrap();
    }
    let mut seq = 10;
    works(&here, &mut *listening, &mut seq).await;
    // It promises a log as long as can be: what is true is heard all the same, as a gap and then as itself.
    let lie = format!("{{\"seq\":{}}}", u64::MAX);
    stranger.publish("beep.log.bite", lie.into()).await.unwrap().await.unwrap();
    assert!(hears(&mut *listening, u64::MAX, SOON).await);
    seq += 1;
    publish(&here, seq).await;
    assert_eq!(tokio::time::timeout(SOON, listening.next()).await, Ok(Signal::Gap));
    works(&here, &mut *listening, &mut seq).await;
}
