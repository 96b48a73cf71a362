//! The guarantees of a [`crate::store::Directory`] about sessions, and about what a token is compared with.

#![allow(clippy::unwrap_used)] // a check that panics tells the guarantee that is broken

use super::directory::{Store, add, changed, debug, kind, new_user, uid};
use super::run::together;
use crate::ErrorKind;
use crate::bite::Digest;
use crate::id::{DeviceId, Identity, SessionId};
use crate::store::{Change, NewUser, Renewal, Session, Standing};

fn on(user: &str, device: &str) -> Identity {
    Identity { user: uid(user), device: DeviceId::parse(device).unwrap() }
}

fn sid(name: &str) -> SessionId {
    SessionId::parse(name).unwrap()
}

/// The digest of a refresh token of this name.
fn token(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// Began at 10, ends at 100, and `first` is its refresh token.
fn session(user: &str, device: &str, id: &str) -> Session {
    let refresh = token("first");
    Session { identity: on(user, device), id: sid(id), refresh, created: 10, refreshed: 10, expires: 100 }
}

async fn begin(store: &Store, user: &str, device: &str, id: &str) -> Session {
    let begun = session(user, device, id);
    store.put_session(begun.clone()).await.unwrap();
    begun
}

async fn renew(store: &Store, id: &str, old: &str, new: &str) -> Renewal {
    store.renew_session(&sid(id), &token(old), &token(new), 20, 200).await.unwrap()
}

fn told(user: &str, device: &str) -> Change {
    Change::Session(uid(user), DeviceId::parse(device).unwrap())
}

/// Each session comes back whole, in device order, and only with its own user.
pub async fn sessions_come_in_device_order(store: Store) {
    add(&store, &["a", "b", "c"]).await;
    // The upper half of a u64, and every kind of character that a device may have.
    let late =
        Session { created: 1 << 63, refreshed: u64::MAX - 1, expires: u64::MAX, ..session("a", "x", "s3") };
    store.put_session(late.clone()).await.unwrap();
    let mut expected = vec![late];
    for (device, id) in [("b", "s1"), ("B ~'\"%_", "s2"), ("9", "s4"), ("10", "s5")] {
        expected.push(begin(&store, "a", device, id).await);
    }
    let other = begin(&store, "b", "x", "s6").await;
    expected.sort_by(|x, y| x.identity.device.cmp(&y.identity.device));
    assert_eq!(store.sessions(&uid("a")).await.unwrap(), expected);
    assert_eq!(store.sessions(&uid("b")).await.unwrap(), [other]);
    assert!(store.sessions(&uid("c")).await.unwrap().is_empty());
    assert!(store.sessions(&uid("none")).await.unwrap().is_empty());
}

/// Signing in again on a device ends what was there: its token renews nothing any more, and ends nothing either.
pub async fn a_new_session_replaces_the_one_of_the_device(store: Store) {
    add(&store, &["a"]).await;
    begin(&store, "a", "phone", "s1").await;
    let tablet = begin(&store, "a", "tablet", "s2").await;
    let phone = begin(&store, "a", "phone", "s3").await;
    assert_eq!(renew(&store, "s1", "first", "second").await, Renewal::Unknown);
    assert_eq!(store.sessions(&uid("a")).await.unwrap(), [phone, tablet]);
    assert_eq!(store.standing(&on("a", "phone")).await.unwrap().session, Some(sid("s3")));
}

/// One id is one session: another device does not get it.
pub async fn a_taken_session_id_is_a_conflict_and_changes_nothing(store: Store) {
    add(&store, &["a", "b"]).await;
    let first = begin(&store, "a", "phone", "s1").await;
    let second = begin(&store, "b", "phone", "s2").await;
    let before = store.last_change().await.unwrap();
    for (user, device) in [("a", "tablet"), ("b", "phone")] {
        assert_eq!(kind(store.put_session(session(user, device, "s1")).await), ErrorKind::Conflict);
    }
    assert_eq!(store.sessions(&uid("a")).await.unwrap(), [first]);
    assert_eq!(store.sessions(&uid("b")).await.unwrap(), [second]);
    assert_eq!(store.last_change().await.unwrap(), before);
}

/// Nobody signs in who is not there, or not there any more.
pub async fn a_session_of_an_unknown_user_is_not_found(store: Store) {
    add(&store, &["a"]).await;
    store.delete_user(&uid("a")).await.unwrap();
    let before = store.last_change().await.unwrap();
    for user in ["a", "none"] {
        assert_eq!(kind(store.put_session(session(user, "phone", "s1")).await), ErrorKind::NotFound);
        assert!(store.sessions(&uid(user)).await.unwrap().is_empty());
    }
    assert_eq!(store.last_change().await.unwrap(), before);
}

/// A renewal answers what is stored: the new token and end, the same session. The new token renews the next time.
pub async fn the_good_token_renews(store: Store) {
    add(&store, &["a"]).await;
    let begun = begin(&store, "a", "phone", "s1").await;
    let other = begin(&store, "a", "tablet", "s2").await;
    let mut expected = begun;
    for (old, new, now, expires) in [
        ("first", "second", 99, 300),
        ("second", "third", 100, 1 << 63),
        ("third", "4", (1 << 63) - 1, u64::MAX),
    ] {
        let renewal = store.renew_session(&sid("s1"), &token(old), &token(new), now, expires).await.unwrap();
        expected = Session { refresh: token(new), refreshed: now, expires, ..expected };
        assert_eq!(renewal, Renewal::Renewed(expected.clone()));
        assert_eq!(store.sessions(&uid("a")).await.unwrap(), [expected.clone(), other.clone()]);
    }
}

/// Of many calls with the good token one renews. The next sees a token that is good no more and ends the session, so
/// there is nothing left for the others.
pub async fn of_many_renewals_exactly_one_wins(store: Store) {
    add(&store, &["a"]).await;
    begin(&store, "a", "phone", "s1").await;
    let before = store.last_change().await.unwrap();
    let calls = (0..30).map(|i| {
        let store = store.clone();
        async move { renew(&store, "s1", "first", &format!("second-{i}")).await }
    });
    let results = together(calls).await;
    let count = |holds: fn(&Renewal) -> bool| results.iter().filter(|r| holds(r)).count();
    assert_eq!(count(|r| matches!(r, Renewal::Renewed(_))), 1);
    assert_eq!(count(|r| *r == Renewal::Reused(on("a", "phone"))), 1);
    assert_eq!(count(|r| *r == Renewal::Unknown), 28);
    assert!(store.sessions(&uid("a")).await.unwrap().is_empty());
    assert_eq!(changed(&store, before).await, debug(&[told("a", "phone")]), "it ended once");
}

/// A token that was used before ends the session, and so does one that never was any. Other sessions go on.
pub async fn a_used_token_ends_the_session(store: Store) {
    add(&store, &["a"]).await;
    let other = begin(&store, "a", "tablet", "s0").await;
    for (id, used) in [("s1", "first"), ("s2", "never")] {
        begin(&store, "a", "phone", id).await;
        assert!(matches!(renew(&store, id, "first", "second").await, Renewal::Renewed(_)));
        let before = store.last_change().await.unwrap();
        assert_eq!(renew(&store, id, used, "third").await, Renewal::Reused(on("a", "phone")));
        assert_eq!(changed(&store, before).await, debug(&[told("a", "phone")]));
        for token in ["second", "third", used] {
            assert_eq!(
                renew(&store, id, token, "fourth").await,
                Renewal::Unknown,
                "{token} of an ended session"
            );
        }
        assert_eq!(store.standing(&on("a", "phone")).await.unwrap(), Standing::default());
        assert_eq!(store.sessions(&uid("a")).await.unwrap(), std::slice::from_ref(&other));
    }
}

/// The end date is the first moment at which nothing is renewed, and what never was is not renewed either.
pub async fn what_is_over_is_unknown(store: Store) {
    add(&store, &["a"]).await;
    begin(&store, "a", "phone", "s1").await;
    for now in [100, 101, 1 << 63, u64::MAX] {
        for old in ["first", "never"] {
            let renewal = store.renew_session(&sid("s1"), &token(old), &token("new"), now, u64::MAX).await;
            assert_eq!(renewal.unwrap(), Renewal::Unknown, "at {now} with {old}");
        }
    }
    let endless = Session { expires: u64::MAX, ..session("a", "tablet", "s2") };
    store.put_session(endless).await.unwrap();
    let renewal = store.renew_session(&sid("s2"), &token("first"), &token("new"), 1 << 63, u64::MAX).await;
    assert!(matches!(renewal.unwrap(), Renewal::Renewed(_)), "the end is compared as unsigned");
    assert_eq!(renew(&store, "none", "first", "second").await, Renewal::Unknown);
}

/// Ending answers whether there was one, and leaves other devices and users alone.
pub async fn a_session_ends_once(store: Store) {
    add(&store, &["a", "b"]).await;
    begin(&store, "a", "phone", "s1").await;
    let kept = [begin(&store, "a", "tablet", "s2").await, begin(&store, "b", "phone", "s3").await];
    for (user, device) in [("a", "none"), ("b", "tablet"), ("none", "phone")] {
        assert!(!store.end_session(&on(user, device)).await.unwrap(), "{user} has none on {device}");
    }
    assert!(store.end_session(&on("a", "phone")).await.unwrap());
    assert!(!store.end_session(&on("a", "phone")).await.unwrap());
    assert_eq!(renew(&store, "s1", "first", "second").await, Renewal::Unknown);
    assert_eq!(store.sessions(&uid("a")).await.unwrap(), kept[..1]);
    assert_eq!(store.sessions(&uid("b")).await.unwrap(), kept[1..]);
    begin(&store, "a", "phone", "s1").await;
    assert_eq!(store.sessions(&uid("a")).await.unwrap().len(), 2, "an ended device may sign in again");
}

/// A deleted user is signed in nowhere, and each session that ended is told once.
pub async fn deleting_a_user_ends_their_sessions(store: Store) {
    add(&store, &["a", "b"]).await;
    begin(&store, "a", "phone", "s1").await;
    begin(&store, "a", "tablet", "s2").await;
    let other = begin(&store, "b", "phone", "s3").await;
    let before = store.last_change().await.unwrap();
    assert!(store.delete_user(&uid("a")).await.unwrap());
    let expected = debug(&[Change::User(uid("a")), told("a", "phone"), told("a", "tablet")]);
    assert_eq!(changed(&store, before).await, expected);
    assert!(store.sessions(&uid("a")).await.unwrap().is_empty());
    assert!(!store.end_session(&on("a", "phone")).await.unwrap());
    for id in ["s1", "s2"] {
        assert_eq!(renew(&store, id, "first", "second").await, Renewal::Unknown);
    }
    assert_eq!(store.sessions(&uid("b")).await.unwrap(), [other]);
}

/// Who was deleted stands as deleted on every device, also after somebody tried to take their id or took their number.
pub async fn a_deleted_user_stands_as_deleted(store: Store) {
    add(&store, &["a", "b"]).await;
    begin(&store, "a", "phone", "s1").await;
    assert!(store.delete_user(&uid("a")).await.unwrap());
    let gone = Standing { deleted: true, session: None };
    for round in 0..2 {
        for device in ["phone", "none"] {
            assert_eq!(store.standing(&on("a", device)).await.unwrap(), gone, "round {round} on {device}");
        }
        assert_eq!(kind(store.create_user(new_user("a")).await), ErrorKind::Conflict);
        assert!(!store.delete_user(&uid("a")).await.unwrap());
        let heir = NewUser { phone_number: "+a".into(), ..new_user("c") };
        assert_eq!(store.create_user(heir).await.is_ok(), round == 0);
    }
    for user in ["b", "c"] {
        assert_eq!(store.standing(&on(user, "phone")).await.unwrap(), Standing::default());
    }
}

/// Somebody unknown, and somebody who never signed in there, were not deleted and have no session.
pub async fn an_unknown_standing_is_the_default(store: Store) {
    add(&store, &["a", "b"]).await;
    begin(&store, "a", "phone", "s1").await;
    for (user, device) in [("a", "tablet"), ("a", "Phone"), ("b", "phone"), ("none", "phone")] {
        assert_eq!(
            store.standing(&on(user, device)).await.unwrap(),
            Standing::default(),
            "{user} on {device}"
        );
    }
    let expected = Standing { deleted: false, session: Some(sid("s1")) };
    assert_eq!(store.standing(&on("a", "phone")).await.unwrap(), expected);
}

/// Each beginning and end is told at once. What changes nothing is not told, nor is a renewal: the session goes on.
pub async fn every_begun_or_ended_session_is_in_changes(store: Store) {
    add(&store, &["a"]).await;
    let mut seen = store.last_change().await.unwrap();
    macro_rules! tells {
        ($call:expr, [$($change:expr)?]) => {
            $call.await.unwrap();
            assert_eq!(changed(&store, seen).await, debug(&[$($change)?]), "after {}", stringify!($call));
            seen = store.last_change().await.unwrap();
        };
    }
    let (phone, next, bad) = (on("a", "phone"), token("second"), token("never"));
    tells!(store.put_session(session("a", "phone", "s1")), [told("a", "phone")]);
    tells!(store.put_session(session("a", "phone", "s1")), []);
    tells!(store.put_session(session("a", "phone", "s2")), [told("a", "phone")]);
    tells!(store.renew_session(&sid("s2"), &token("first"), &next, 20, 200), []);
    tells!(store.renew_session(&sid("s1"), &bad, &next, 20, 200), []);
    tells!(store.renew_session(&sid("s2"), &bad, &next, 20, 200), [told("a", "phone")]);
    tells!(store.renew_session(&sid("s2"), &next, &next, 20, 200), []);
    tells!(store.end_session(&phone), []);
    tells!(store.put_session(session("a", "Odd ~", "s3")), [told("a", "Odd ~")]);
    tells!(store.end_session(&on("a", "Odd ~")), [told("a", "Odd ~")]);
    assert!(store.changes(seen, 10).await.unwrap().is_empty());
}
