//! Permission inside the pipeline: a grant allows what it was minted for, and no directory means no permission.

use crate::pipeline_support::{Echo, Moody, crew, identity, say, stores, wav};
use beep_core::bite::{Label, ScanRange};
use beep_core::permission::{Action, Gate};
use beep_core::store::{Role, Start};
use beep_core::{ErrorKind, Result};
use beep_pipeline::outbound::Delivery;
use beep_pipeline::{Beep, Utterance};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn kind<T>(answer: Result<T>) -> Option<ErrorKind> {
    answer.err().map(|e| e.kind())
}

/// Whoever was let in to listen can do nothing else with that; whoever may speak can also listen, but not moderate.
#[tokio::test]
async fn a_grant_allows_no_more_than_its_role() {
    let stores = stores().await;
    let beep = Beep::builder(stores.clone()).start().await.unwrap();
    say(&beep, 1, "hello").await.unwrap();
    let listen = beep.gate().check(&identity("carol"), &crew(), Action::Listen).await.unwrap();
    assert_eq!(kind(beep.query().record(&listen, Label::Bite, 1).await), None);
    assert_eq!(kind(beep.query().scan(&listen, Label::Bite, ScanRange::all()).await), None);
    let said = Utterance::new(wav("me too"), Start::At(2));
    assert_eq!(kind(beep.record(&listen, said.clone()).await), Some(ErrorKind::Denied));
    assert_eq!(kind(beep.attach(&listen, 1, "x".into()).await), Some(ErrorKind::Denied));
    assert_eq!(kind(beep.delete(&listen, 1).await), Some(ErrorKind::Denied));
    for action in [Action::Speak, Action::Moderate] {
        assert_eq!(
            kind(beep.gate().check(&identity("carol"), &crew(), action).await),
            Some(ErrorKind::Denied)
        );
        assert_eq!(
            kind(beep.gate().check(&identity("dave"), &crew(), action).await),
            Some(ErrorKind::Denied)
        );
    }
    assert_eq!(stores.bites.tail().await.unwrap(), 1, "nothing was stored");
    let alice = beep.gate().check(&identity("alice"), &crew(), Action::Speak).await.unwrap();
    assert_eq!(kind(beep.record(&alice, said).await), None);
    let bob = beep.gate().check(&identity("bob"), &crew(), Action::Speak).await.unwrap();
    assert_eq!(
        kind(beep.delete(&bob, 2).await),
        Some(ErrorKind::Denied),
        "a member deletes the owner's bite"
    );
    assert_eq!(kind(beep.attach(&bob, 2, "x".into()).await), Some(ErrorKind::Denied));
    assert_eq!(kind(beep.delete(&bob, 1).await), None);
    assert_eq!(kind(beep.delete(&alice, 2).await), None);
}

/// A grant is for one conversation.
#[tokio::test]
async fn a_grant_is_for_its_conversation_only() {
    let stores = stores().await;
    let beep = Beep::builder(stores).start().await.unwrap();
    say(&beep, 1, "hello").await.unwrap();
    let other = Gate::operator(&"c-other".parse().unwrap(), identity("bob"), Action::Moderate);
    assert_eq!(kind(beep.query().record(&other, Label::Bite, 1).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(beep.delete(&other, 1).await), Some(ErrorKind::NotFound));
}

/// While the directory is away everybody is refused within 100 ms, also who was let in before; and let in again after.
#[tokio::test(start_paused = true)]
async fn directory_outage_denies() {
    let mut stores = stores().await;
    let moody = Moody::new(stores.directory.clone());
    stores.directory = moody.clone();
    let beep = Beep::builder(stores.clone()).start().await.unwrap();
    let ask = async |who: &str| kind(beep.gate().check(&identity(who), &crew(), Action::Listen).await);
    for _ in 0..3 {
        assert_eq!((ask("alice").await, ask("dave").await), (None, Some(ErrorKind::Denied)));
        moody.away.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        for who in ["alice", "bob", "carol", "dave"] {
            assert_eq!(ask(who).await, Some(ErrorKind::Unavailable), "{who}");
        }
        let user = "alice".parse().unwrap();
        assert_eq!(
            kind(beep.query().search_all(&user, "hello", None, 10).await),
            Some(ErrorKind::Unavailable)
        );
        assert_eq!(kind(beep.ready().await), Some(ErrorKind::Unavailable));
        moody.away.store(false, Ordering::SeqCst);
        assert_eq!(ask("alice").await, None);
    }
}

/// Who was removed while the directory did not answer is out when it is back.
#[tokio::test(start_paused = true)]
async fn removal_during_an_outage_counts_afterwards() {
    let mut stores = stores().await;
    let behind = stores.directory.clone();
    let moody = Moody::new(behind.clone());
    stores.directory = moody.clone();
    let beep = Beep::builder(stores).start().await.unwrap();
    let ask = async || kind(beep.gate().check(&identity("bob"), &crew(), Action::Speak).await);
    assert_eq!(ask().await, None);
    moody.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    behind.remove_member(&crew(), &"bob".parse().unwrap()).await.unwrap();
    moody.away.store(false, Ordering::SeqCst);
    assert_eq!(ask().await, Some(ErrorKind::Denied));
    behind.put_member(&crew(), &"bob".parse().unwrap(), Role::Listener).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ask().await, Some(ErrorKind::Denied), "a listener may not speak");
    assert_eq!(kind(beep.gate().check(&identity("bob"), &crew(), Action::Listen).await), None);
}

/// When nobody can say who may hear an event, it is told to nobody; readers come back and have missed nothing.
#[tokio::test(start_paused = true)]
async fn events_during_an_outage_are_not_lost() {
    let mut stores = stores().await;
    let moody = Moody::new(stores.directory.clone());
    stores.directory = moody.clone();
    let beep = Beep::builder(stores).transcriber(Arc::new(Echo)).start().await.unwrap();
    let user = "carol".parse().unwrap();
    let mut reader = beep.subscribe(&user, None, None);
    let mut seen = reader.position().unwrap();
    moody.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for start in 1..=5 {
        say(&beep, start, "hello").await.unwrap();
    }
    // The stream ends at once, and every new one as well, until the directory is back.
    assert!(matches!(reader.next().await, Ok(None)));
    assert!(beep.subscribe(&user, None, Some(seen)).next().await.is_err());
    moody.away.store(false, Ordering::SeqCst);
    let mut reader = beep.subscribe(&user, None, Some(seen));
    while seen < 10 {
        for delivery in reader.next().await.unwrap().expect("the stream goes on") {
            let Delivery::Notice(notice) = delivery else { panic!("{delivery:?}") };
            assert_eq!(notice.seq, seen + 1);
            seen = notice.seq;
        }
    }
}
