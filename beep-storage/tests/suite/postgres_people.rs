//! Several nodes on one PostgreSQL schema: the order of changes, writers that meet, and the bell.
#![cfg(feature = "store-postgres")]

use crate::services::postgres::Schema;
use beep_core::bus::{Signal, Subscription};
use beep_core::id::{ConversationId, DeviceId, Identity, SessionId, UserId};
use beep_core::store::{Change, Directory, NewConversation, NewUser, Role, Session, UserPatch};
use beep_core::{ErrorKind, bite::Digest};
use beep_storage::postgres::{Postgres, PostgresDirectory};
use sqlx::{Connection as _, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

fn uid(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn cid(id: &str) -> ConversationId {
    ConversationId::parse(id).unwrap()
}

fn person(id: &str) -> NewUser {
    let (first_name, last_name) = (String::new(), String::new());
    NewUser { id: uid(id), username: None, first_name, last_name, phone_number: format!("+{id}") }
}

async fn directory(schema: &Schema) -> PostgresDirectory {
    PostgresDirectory::new(&Postgres::open(&schema.url()).await.unwrap())
}

async fn raw(schema: &Schema) -> PgConnection {
    PgConnection::connect(&schema.url()).await.unwrap()
}

/// What one follower sees until `done`, while others write: every position once, in order.
async fn follow(people: PostgresDirectory, done: Arc<AtomicBool>) -> Vec<Change> {
    let mut seen = Vec::new();
    loop {
        let last_round = done.load(Ordering::SeqCst);
        loop {
            let page = people.changes(seen.len() as u64, 7).await.unwrap();
            if page.is_empty() {
                break;
            }
            for entry in page {
                assert_eq!(entry.seq, seen.len() as u64 + 1, "neither gap nor disorder behind a follower");
                seen.push(entry.change);
            }
        }
        if last_round {
            assert_eq!(people.last_change().await.unwrap(), seen.len() as u64);
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_on_two_nodes_leave_no_gap() {
    const WRITERS: usize = 16;
    const EACH: usize = 25;
    let Some(schema) = Schema::fresh().await else { return };
    let nodes = [directory(&schema).await, directory(&schema).await];
    let done = Arc::new(AtomicBool::new(false));
    let followers: Vec<_> =
        nodes.iter().map(|node| tokio::spawn(follow(node.clone(), done.clone()))).collect();
    for id in ["o", "p"] {
        nodes[0].create_user(person(id)).await.unwrap();
    }
    let new = NewConversation { id: cid("c"), title: "t".into(), picture: String::new(), owner: uid("o") };
    nodes[0].create_conversation(new).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let node = nodes[writer % 2].clone();
        writers.spawn(async move {
            for i in 0..EACH {
                let id = format!("u-{writer}-{i}");
                node.create_user(person(&id)).await.unwrap();
                node.put_member(&cid("c"), &uid(&id), Role::Member).await.unwrap();
                node.put_contact(&uid("o"), &uid(&id)).await.unwrap();
                // Refused between them: a number must not be taken and given up.
                assert_eq!(node.create_user(person("o")).await.unwrap_err().kind(), ErrorKind::Conflict);
                // All at one row.
                let bio = Some(format!("{writer} {i}"));
                node.patch_user(&uid("p"), UserPatch { bio, ..UserPatch::default() }).await.unwrap();
                if i % 5 == 0 {
                    assert!(node.delete_user(&uid(&id)).await.unwrap());
                }
            }
        });
    }
    writers.join_all().await;
    done.store(true, Ordering::SeqCst);
    let mut seen = Vec::new();
    for follower in followers {
        seen.push(follower.await.unwrap());
    }
    assert_eq!(seen[0], seen[1], "all followers see the same");
    let count = |holds: fn(&Change) -> bool| seen[0].iter().filter(|change| holds(change)).count();
    let (all, deleted) = (WRITERS * EACH, WRITERS * EACH / 5);
    assert_eq!(count(|c| matches!(c, Change::Member(..))), 1 + all + deleted);
    assert_eq!(count(|c| matches!(c, Change::Contact(..))), all + deleted);
    assert_eq!(count(|c| matches!(c, Change::User(_))), 2 + all + deleted + all);
    // A member is told after the user, and before the user is told to have gone: as it was committed.
    let first = |change: &Change| seen[0].iter().position(|c| c == change).unwrap();
    for writer in 0..WRITERS {
        let id = uid(&format!("u-{writer}-1"));
        assert!(first(&Change::User(id.clone())) < first(&Change::Member(cid("c"), id)));
    }
}

/// Everybody deletes, joins and befriends everybody: nobody fails, nothing is left that points nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_meet_do_not_fail() {
    let Some(schema) = Schema::fresh().await else { return };
    let nodes = [directory(&schema).await, directory(&schema).await];
    for round in 0..12 {
        let ids: Vec<String> = (0..6).map(|i| format!("u-{round}-{i}")).collect();
        for id in &ids {
            nodes[0].create_user(NewUser { username: Some(id.clone()), ..person(id) }).await.unwrap();
        }
        let place = cid(&format!("c-{round}"));
        let new = NewConversation {
            id: place.clone(),
            title: String::new(),
            picture: String::new(),
            owner: uid(&ids[0]),
        };
        nodes[0].create_conversation(new).await.unwrap();
        for (a, b) in ids.iter().flat_map(|a| ids.iter().map(move |b| (a, b))) {
            nodes[0].put_contact(&uid(a), &uid(b)).await.unwrap();
        }
        let mut calls = JoinSet::new();
        for (i, id) in ids.iter().cloned().enumerate() {
            for node in nodes.clone() {
                let (ids, id, place) = (ids.clone(), id.clone(), place.clone());
                calls.spawn(async move {
                    let accepted = |done: beep_core::Result<()>| {
                        if let Err(e) = done {
                            let expected = matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict);
                            assert!(expected, "{e}");
                        }
                    };
                    let next = &ids[(i + 1) % ids.len()];
                    let username = Some(Some(next.clone()));
                    let patch = UserPatch { username, ..UserPatch::default() };
                    accepted(node.patch_user(&uid(&id), patch).await.map(drop));
                    accepted(node.put_member(&place, &uid(&id), Role::Member).await);
                    accepted(node.put_contact(&uid(next), &uid(&id)).await);
                    let identity = Identity { user: uid(&id), device: DeviceId::parse("d").unwrap() };
                    let (created, refreshed, expires) = (1, 1, 2);
                    let (session, refresh) = (SessionId::parse(next).unwrap(), Digest::of(b""));
                    let session = Session { identity, id: session, refresh, created, refreshed, expires };
                    accepted(node.put_session(session).await);
                    if i % 2 == 0 {
                        accepted(node.delete_conversation(&place).await.map(drop));
                    }
                    accepted(node.delete_user(&uid(&id)).await.map(drop));
                    // Whoever comes too late must not bring somebody back.
                    let back = node.create_user(person(&id)).await;
                    assert_eq!(back.unwrap_err().kind(), ErrorKind::Conflict);
                });
            }
        }
        calls.join_all().await;
    }
    assert!(nodes[0].users(None, 1_000).await.unwrap().is_empty());
    assert!(nodes[0].conversations(None, 1_000).await.unwrap().is_empty());
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM members) + (SELECT count(*) FROM contacts) + (SELECT count(*) FROM sessions)",
    )
    .fetch_one(&mut raw(&schema).await)
    .await
    .unwrap();
    assert_eq!(left, 0);
}

/// Somebody is deleted while somebody else takes their id: whoever comes second is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_back_while_being_deleted() {
    let Some(schema) = Schema::fresh().await else { return };
    let (one, other) = (directory(&schema).await, directory(&schema).await);
    for round in 0..100 {
        let id = format!("u-{round}");
        one.create_user(person(&id)).await.unwrap();
        let gone = uid(&id);
        let (deleted, back) = tokio::join!(one.delete_user(&gone), other.create_user(person(&id)));
        assert!(deleted.unwrap());
        assert_eq!(back.unwrap_err().kind(), ErrorKind::Conflict);
        let identity = Identity { user: gone.clone(), device: DeviceId::parse("d").unwrap() };
        assert!(one.standing(&identity).await.unwrap().deleted);
        assert_eq!(one.user(&gone).await.unwrap(), None);
    }
}

async fn heard(bell: &mut Box<dyn Subscription>, patience: Duration) -> Signal {
    tokio::time::timeout(patience, bell.next()).await.expect("the bell rings")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_rings_on_every_node() {
    let Some(schema) = Schema::fresh().await else { return };
    let nodes = [directory(&schema).await, directory(&schema).await];
    let mut bells = Vec::new();
    for node in nodes.iter().chain(&nodes) {
        bells.push(node.bell().await.unwrap().expect("a bell"));
    }
    let other = Schema::fresh().await.unwrap();
    directory(&other).await.create_user(person("elsewhere")).await.unwrap();
    for seq in 1..=20 {
        let begun = Instant::now();
        nodes[0].create_user(person(&format!("u-{seq}"))).await.unwrap();
        for bell in &mut bells {
            assert_eq!(heard(bell, Duration::from_secs(1)).await, Signal::Grown(seq));
        }
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
    // What changes nothing does not ring, and nor does what fails.
    nodes[0].create_user(person("u-1")).await.unwrap_err();
    let quiet = tokio::time::timeout(Duration::from_millis(100), bells[0].next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let listening: i64 = sqlx::query_scalar(LISTENING).fetch_one(&mut raw(&schema).await).await.unwrap();
    assert_eq!(listening, 2, "one connection per node, whatever the number of bells");
    drop(nodes);
    for bell in &mut bells {
        assert_eq!(heard(bell, Duration::from_secs(1)).await, Signal::Closed);
    }
}

/// The backends that listen in this schema: `LISTEN` is the last thing that they were told.
const LISTENING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE query = 'LISTEN \"beep_changes_' || 'changes'::regclass::oid || '\"'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_bell_comes_back_and_tells() {
    let Some(schema) = Schema::fresh().await else { return };
    let (people, writer) = (directory(&schema).await, directory(&schema).await);
    let mut bell = people.bell().await.unwrap().unwrap();
    for round in 0..3 {
        let killed: i64 = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE query = 'LISTEN \"beep_changes_' || 'changes'::regclass::oid || '\"'",
        )
        .fetch_one(&mut raw(&schema).await)
        .await
        .unwrap();
        assert_eq!(killed, 1);
        // Said while nobody listens, or just so.
        writer.create_user(person(&format!("lost-{round}"))).await.unwrap();
        let mut signal = heard(&mut bell, Duration::from_secs(5)).await;
        if signal != Signal::Gap {
            signal = heard(&mut bell, Duration::from_secs(5)).await;
        }
        assert_eq!(signal, Signal::Gap);
        writer.create_user(person(&format!("heard-{round}"))).await.unwrap();
        assert_eq!(heard(&mut bell, Duration::from_secs(1)).await, Signal::Grown(round * 2 + 2));
    }
}
