//! The guarantees of a [`Bus`].

use super::run::{Dice, together};
use crate::bite::{BiteKey, Label};
use crate::bus::{Bus, Signal, Subscription};
use crate::event::{Event, LogEntry, Seq};
use crate::id::Identity;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A bus under test, and a way to wait that does not depend on it.
pub struct UnderTest {
    /// The bus; nobody else publishes on it.
    pub bus: Arc<dyn Bus>,
    /// Sleeps, such as `|by| Box::pin(tokio::time::sleep(by))`.
    pub sleep: Sleep,
}

/// Waits for so long.
pub type Sleep = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Expands to one `#[tokio::test]` per guarantee of a [`Bus`], on a fresh bus each.
///
/// Takes the path of an `async fn() -> (UnderTest, Guard)`; the guard is kept until the check is over.
#[macro_export]
macro_rules! bus_suite {
    ($fresh:path) => {
        $crate::conformance_tests! { $fresh => bus:
            what_is_published_is_heard
            every_subscription_hears
            whatever_happened_is_heard
            a_signal_never_promises_more_than_was_published
            a_dropped_wait_loses_nothing
            doubles_and_stragglers_are_harmless
            many_publishers_meet
            publishing_does_not_wait_for_a_reader
            a_reader_that_left_disturbs_nobody
            who_comes_later_hears_what_follows
            a_bus_that_is_gone_closes
        }
    };
}

/// More than any bus needs: reached only when something is lost.
const DEADLINE: Duration = Duration::from_secs(10);

fn entry(seq: Seq, event: Event) -> LogEntry {
    LogEntry { seq, at: 1_000 + seq, event }
}

fn key(label: Label) -> BiteKey {
    BiteKey::new(label, "c-1".parse().expect("an id"), 7)
}

fn author() -> Identity {
    Identity { user: "u-1".parse().expect("an id"), device: "phone".parse().expect("an id") }
}

fn stored(seq: Seq) -> LogEntry {
    entry(seq, Event::Stored { key: key(Label::Bite), author: author() })
}

async fn publish(bus: &dyn Bus, seq: Seq) {
    bus.publish(&stored(seq)).await.expect("publishing succeeds");
}

async fn subscribe(test: &UnderTest) -> Box<dyn Subscription> {
    test.bus.subscribe().await.expect("subscribing succeeds")
}

/// The next signal; fails when none comes.
async fn next(sleep: Sleep, subscription: &mut dyn Subscription) -> Signal {
    let (mut signal, mut end) = (subscription.next(), sleep(DEADLINE));
    poll_fn(|cx| {
        if let Poll::Ready(signal) = signal.as_mut().poll(cx) {
            return Poll::Ready(signal);
        }
        assert!(end.as_mut().poll(cx).is_pending(), "nothing is heard");
        Poll::Pending
    })
    .await
}

/// Listens until the log is known to reach so far, or a reader would look by itself. Returns every signal.
async fn hears(test: &UnderTest, subscription: &mut dyn Subscription, seq: Seq) -> Vec<Signal> {
    let mut heard = Vec::new();
    loop {
        let signal = next(test.sleep, subscription).await;
        heard.push(signal);
        match signal {
            Signal::Grown(reached) if reached >= seq => return heard,
            Signal::Grown(_) => {}
            Signal::Gap => return heard,
            Signal::Closed => panic!("the bus is open"),
        }
    }
}

/// From `subscribe` on.
pub async fn what_is_published_is_heard(test: UnderTest) {
    let mut subscription = subscribe(&test).await;
    for seq in 1..=20 {
        publish(&*test.bus, seq).await;
        hears(&test, &mut *subscription, seq).await;
    }
}

/// However many there are.
pub async fn every_subscription_hears(test: UnderTest) {
    let mut subscriptions = Vec::new();
    for _ in 0..50 {
        subscriptions.push(subscribe(&test).await);
    }
    publish(&*test.bus, 3).await;
    together(subscriptions.iter_mut().map(|s| hears(&test, &mut **s, 3))).await;
}

/// Bites, what belongs to them, deletions, failures with any words.
pub async fn whatever_happened_is_heard(test: UnderTest) {
    let mut subscription = subscribe(&test).await;
    let mut events: Vec<Event> =
        Label::ALL.into_iter().map(|label| Event::Stored { key: key(label), author: author() }).collect();
    events.push(Event::Deleted { key: key(Label::Bite), author: author() });
    for reason in ["", "no words\r\n\0\"}", &"é".repeat(2_000)] {
        events.push(Event::Failed { key: key(Label::Bite), author: author(), reason: reason.into() });
    }
    for (seq, event) in (1..).zip(events) {
        test.bus.publish(&entry(seq, event)).await.expect("publishing succeeds");
        hears(&test, &mut *subscription, seq).await;
    }
}

/// A reader who trusts it would wait for entries that do not exist.
pub async fn a_signal_never_promises_more_than_was_published(test: UnderTest) {
    let mut subscription = subscribe(&test).await;
    for seq in (10..=500).step_by(7) {
        publish(&*test.bus, seq).await;
        for signal in hears(&test, &mut *subscription, seq).await {
            assert!(!matches!(signal, Signal::Grown(reached) if reached > seq), "{signal:?} after {seq}");
        }
    }
}

/// Readers wait for other things, too.
pub async fn a_dropped_wait_loses_nothing(test: UnderTest) {
    let mut subscription = subscribe(&test).await;
    for seq in 1..=20 {
        for _ in 0..3 {
            let mut signal = pin!(subscription.next());
            // A gap may be told at any time.
            poll_fn(|cx| Poll::Ready(signal.as_mut().poll(cx).is_ready())).await;
        }
        publish(&*test.bus, seq).await;
        hears(&test, &mut *subscription, seq).await;
    }
}

/// Another node tells the same again, or late: what follows is heard all the same.
pub async fn doubles_and_stragglers_are_harmless(test: UnderTest) {
    let mut subscription = subscribe(&test).await;
    for seq in (10..=60).step_by(10) {
        for again in [seq, seq, seq - 3, seq, seq - 9] {
            publish(&*test.bus, again).await;
        }
        hears(&test, &mut *subscription, seq).await;
    }
}

/// In any order: the farthest is heard in the end.
pub async fn many_publishers_meet(test: UnderTest) {
    let mut subscription = subscribe(&test).await;
    let mut dice = Dice(7);
    let mut order: Vec<Seq> = (1..=500).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, dice.roll(at as u64 + 1) as usize);
    }
    together(order.into_iter().map(|seq| publish(&*test.bus, seq))).await;
    hears(&test, &mut *subscription, 500).await;
    publish(&*test.bus, 501).await;
    hears(&test, &mut *subscription, 501).await;
}

/// Nobody reads, and still it takes everything; who reads at last hears how far it went.
pub async fn publishing_does_not_wait_for_a_reader(test: UnderTest) {
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(subscribe(&test).await);
    }
    let publishing = async {
        for seq in 1..=20_000 {
            publish(&*test.bus, seq).await;
        }
    };
    let (mut publishing, mut end) = (pin!(publishing), (test.sleep)(DEADLINE));
    poll_fn(|cx| {
        if publishing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        assert!(end.as_mut().poll(cx).is_pending(), "publishing waits for readers");
        Poll::Pending
    })
    .await;
    hears(&test, &mut *idle[9], 20_000).await;
}

/// Neither the publisher nor the others notice.
pub async fn a_reader_that_left_disturbs_nobody(test: UnderTest) {
    let mut stays = subscribe(&test).await;
    for seq in 1..=20 {
        drop(subscribe(&test).await);
        let leaves = subscribe(&test).await;
        publish(&*test.bus, seq).await;
        drop(leaves);
        hears(&test, &mut *stays, seq).await;
    }
}

/// What was before is in the log.
pub async fn who_comes_later_hears_what_follows(test: UnderTest) {
    for seq in 1..=20 {
        publish(&*test.bus, seq * 2).await;
        let mut later = subscribe(&test).await;
        publish(&*test.bus, seq * 2 + 1).await;
        hears(&test, &mut *later, seq * 2 + 1).await;
    }
}

/// And says so, instead of leaving its readers to wait.
pub async fn a_bus_that_is_gone_closes(test: UnderTest) {
    let mut subscription = subscribe(&test).await;
    let UnderTest { bus, sleep } = test;
    drop(bus);
    while next(sleep, &mut *subscription).await != Signal::Closed {}
    assert_eq!(next(sleep, &mut *subscription).await, Signal::Closed, "it stays closed");
}
