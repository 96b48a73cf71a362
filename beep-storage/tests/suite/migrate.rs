//! Moving an installation: everything arrives as it was, whatever is written, deleted or interrupted meanwhile.
#![cfg(all(feature = "store-heed", feature = "store-sqlite"))]

use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::clock::{ManualClock, Millis, System};
use beep_core::id::{ConversationId, Identity, UserId};
use beep_core::store::{
    NewBite, NewBlob, NewConversation, NewUser, Role, SearchQuery, Session, Start, Stores, UserPatch,
};
use beep_core::transcript::Transcript;
use beep_core::{ErrorKind, Result};
use beep_storage::migrate::{Migration, Workers};
use beep_storage::{StorageConfig, open};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;

const WORKERS: Workers = Workers { transcribe: "transcribe", index: "index" };

fn uid(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn cid(id: &str) -> ConversationId {
    ConversationId::parse(id).unwrap()
}

fn device(user: &str) -> Identity {
    Identity { user: uid(user), device: format!("{user}'s phone").parse().unwrap() }
}

async fn memory() -> Stores {
    open(&StorageConfig::memory(), Arc::new(System)).await.unwrap()
}

async fn disk() -> (Stores, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(&StorageConfig::embedded(dir.path()), Arc::new(System)).await.unwrap(), dir)
}

fn migration(source: &Stores, target: &Stores) -> Migration {
    Migration::new(source.clone(), target.clone(), "test", WORKERS, Arc::new(ManualClock::at(50_000)))
}

async fn user(stores: &Stores, id: &str, username: Option<&str>) {
    let new = NewUser {
        id: uid(id),
        username: username.map(str::to_owned),
        first_name: format!("First {id}"),
        last_name: String::new(),
        phone_number: format!("+{id}"),
    };
    stores.directory.create_user(new).await.unwrap();
}

async fn conversation(stores: &Stores, id: &str, owner: &str) {
    let new = NewConversation {
        id: cid(id),
        title: format!("Crew {id}"),
        picture: "crew.png".into(),
        owner: uid(owner),
    };
    stores.directory.create_conversation(new).await.unwrap();
}

async fn say(stores: &Stores, label: Label, at: (&str, Millis), author: &str, body: &[u8]) -> Result<bool> {
    let put = stores.bites.put(NewBite {
        label,
        conversation: cid(at.0),
        start: Start::At(at.1),
        author: device(author),
        media_type: if label == Label::Bite { "audio/wav".into() } else { "application/json".into() },
        duration_ms: (label == Label::Bite).then_some(at.1 % 7),
        body: body.to_vec().into(),
        sha256: Digest::of(body),
        received: 10_000 + at.1,
        idempotency: None,
    });
    Ok(put.await?.entry.is_some())
}

async fn transcribed(stores: &Stores, at: (&str, Millis), text: &str) {
    let transcript = Transcript { text: text.into(), ..Transcript::default() };
    say(stores, Label::Transcription, at, "a", &serde_json::to_vec(&transcript).unwrap()).await.unwrap();
}

async fn picture(stores: &Stores, name: &str, owner: &str) {
    let (name, owner, media_type) = (name.to_owned(), uid(owner), "image/png".to_owned());
    let body = name.clone().into_bytes().into();
    stores.blobs.put(NewBlob { name, owner, media_type, received: 77, body }).await.unwrap();
}

fn session(user: &str, refresh: &str, refreshed: Millis) -> Session {
    Session {
        identity: device(user),
        id: format!("s-{user}").parse().unwrap(),
        refresh: Digest::of(refresh.as_bytes()),
        created: 1,
        refreshed,
        expires: 9_000_000,
    }
}

/// Some of everything.
async fn fill(stores: &Stores) {
    let d = &stores.directory;
    for id in ["a", "b", "c", "gone", "silent"] {
        user(stores, id, Some(&format!("name-{id}"))).await;
    }
    let patch = UserPatch {
        bio: Some("über mich".into()),
        profile_pic: Some("a.png".into()),
        ..UserPatch::default()
    };
    d.patch_user(&uid("a"), patch).await.unwrap();
    conversation(stores, "crew", "b").await;
    conversation(stores, "left", "gone").await;
    for (id, role) in [("a", Role::Admin), ("c", Role::Listener), ("gone", Role::Member)] {
        d.put_member(&cid("crew"), &uid(id), role).await.unwrap();
    }
    d.set_pinned(&cid("crew"), &uid("c"), true).await.unwrap();
    d.set_last_heard(&cid("crew"), &uid("a"), 1 << 63).await.unwrap();
    d.put_contact(&uid("a"), &uid("b")).await.unwrap();
    d.put_contact(&uid("a"), &uid("a")).await.unwrap();
    d.put_session(session("a", "first", 1)).await.unwrap();
    d.put_session(session("b", "first", 1)).await.unwrap();
    picture(stores, "a.png", "a").await;
    picture(stores, "crew.png", "c").await;
    for start in 0..60 {
        say(
            stores,
            Label::Bite,
            ("crew", start),
            ["a", "b", "gone"][start as usize % 3],
            &[start as u8; 300],
        )
        .await
        .unwrap();
        if start % 2 == 0 {
            transcribed(stores, ("crew", start), &format!("word number {start}")).await;
        }
    }
    say(stores, Label::User, ("crew", 3), "a", b"{\"note\":1}").await.unwrap();
    say(stores, Label::Bite, ("left", 5), "gone", b"left behind").await.unwrap();
    let parked = BiteKey::new(Label::Bite, cid("crew"), 1);
    stores.bites.park(&parked, "not speech", 123).await.unwrap();
    stores.bites.delete(&cid("crew"), 6, 20_000).await.unwrap();
    stores.bites.delete(&cid("crew"), 9, 20_000).await.unwrap();
    say(stores, Label::Bite, ("crew", 9), "b", b"said anew").await.unwrap();
    for id in ["gone", "silent"] {
        d.delete_user(&uid(id)).await.unwrap();
    }
}

async fn found(stores: &Stores, words: &str) -> Vec<Millis> {
    let query = SearchQuery { words: words.into(), conversations: None, before: None, limit: 100 };
    stores.search.search(query).await.unwrap().hits.iter().map(|hit| hit.start).collect()
}

/// What a comparison does not look at, because no store lists it.
async fn same(source: &Stores, target: &Stores) {
    for id in ["a", "b", "c", "gone", "silent", "never"] {
        let standing = source.directory.standing(&device(id)).await.unwrap();
        assert_eq!(target.directory.standing(&device(id)).await.unwrap(), standing, "{id}");
    }
    for start in 0..60 {
        for label in Label::ALL {
            let key = BiteKey::new(label, cid("crew"), start);
            assert_eq!(target.bites.get(&key).await.unwrap(), source.bites.get(&key).await.unwrap(), "{key}");
        }
    }
    assert_eq!(target.bites.parked(100).await.unwrap(), source.bites.parked(100).await.unwrap());
    assert_eq!(target.blobs.get("crew.png").await.unwrap(), source.blobs.get("crew.png").await.unwrap());
}

async fn whole(source: &Stores, target: &Stores) {
    fill(source).await;
    let mut first = migration(source, target);
    let verified = first.catch_up_and_verify().await.unwrap();
    assert!(verified.is_equal(), "{:?}", verified.differences);
    assert_eq!(first.problems().count(), 0, "{:?}", first.problems().collect::<Vec<_>>());
    let (here, there) = verified.records();
    assert_eq!(here, there);
    assert_eq!(here.count, 60 + 30 + 1 + 1 - 1 - 1, "records, but for a deleted bite and its transcript");
    assert_eq!(
        verified.people.0.count, 13,
        "3 users, 2 conversations, 3 members, 2 contacts, 2 sessions, 1 parked"
    );
    assert_eq!(verified.people.0, verified.people.1);
    assert_eq!(verified.pictures.0.count, 2);
    same(source, target).await;
    assert_eq!(found(target, "number 42").await, [42]);
    assert_eq!(found(target, "word").await.len(), 29);
    assert!(found(target, "number 6").await.is_empty(), "deleted");
    // 1 was set aside; 3 is the oldest that waits.
    let waits = target.bites.cursor("transcribe").await.unwrap();
    let next = &target.bites.log(waits, 1).await.unwrap()[0];
    assert_eq!(next.event.key().start, 3);
    // Once more, as after losing what was noted last, and as somebody who never noted anything.
    let (tail, last) = (target.bites.tail().await.unwrap(), target.directory.last_change().await.unwrap());
    for name in ["test", "anew"] {
        let (here, there) = (source.clone(), target.clone());
        let mut again = Migration::new(here, there, name, WORKERS, Arc::new(ManualClock::at(60_000)));
        assert!(again.catch_up_and_verify().await.unwrap().is_equal());
        assert_eq!(again.problems().count(), 0, "{:?}", again.problems().collect::<Vec<_>>());
        assert_eq!(target.bites.tail().await.unwrap(), tail, "a second copy");
        assert_eq!(target.directory.last_change().await.unwrap(), last);
    }
}

#[tokio::test]
async fn moves_everything_to_memory() {
    let (source, _dir) = disk().await;
    whole(&source, &memory().await).await;
}

#[tokio::test]
async fn moves_everything_to_another_folder() {
    let (source, _dir) = disk().await;
    let (target, _there) = disk().await;
    whole(&source, &target).await;
}

#[tokio::test]
async fn moves_everything_from_memory() {
    let (target, _dir) = disk().await;
    whole(&memory().await, &target).await;
}

/// What is deleted, renamed and renewed between two runs, and in the middle of one.
#[tokio::test]
async fn follows_what_changes() {
    let (source, target) = (memory().await, memory().await);
    fill(&source).await;
    migration(&source, &target).catch_up().await.unwrap();
    let d = &source.directory;
    // Two swap their names; one of them renews a session, which is no change that anybody is told of.
    let named =
        |name: Option<&str>| UserPatch { username: Some(name.map(str::to_owned)), ..UserPatch::default() };
    d.patch_user(&uid("a"), named(None)).await.unwrap();
    d.patch_user(&uid("b"), named(Some("name-a"))).await.unwrap();
    d.patch_user(&uid("a"), named(Some("name-b"))).await.unwrap();
    let refresh = |word: &str| Digest::of(word.as_bytes());
    d.renew_session(&"s-a".parse().unwrap(), &refresh("first"), &refresh("second"), 9, 9_500_000)
        .await
        .unwrap();
    d.end_session(&device("b")).await.unwrap();
    d.set_last_heard(&cid("crew"), &uid("c"), 44).await.unwrap();
    d.set_pinned(&cid("crew"), &uid("c"), false).await.unwrap();
    d.put_member(&cid("crew"), &uid("c"), Role::Owner).await.unwrap();
    d.remove_contact(&uid("a"), &uid("b")).await.unwrap();
    user(&source, "new", None).await;
    d.put_member(&cid("crew"), &uid("new"), Role::Member).await.unwrap();
    user(&source, "brief", None).await;
    d.delete_user(&uid("brief")).await.unwrap();
    source.bites.delete(&cid("crew"), 10, 30_000).await.unwrap();
    say(&source, Label::Bite, ("crew", 10), "a", b"other words, same place").await.unwrap();
    d.delete_conversation(&cid("left")).await.unwrap();
    source.bites.delete(&cid("left"), 5, 30_000).await.unwrap();
    source.blobs.delete("a.png").await.unwrap();
    picture(&source, "b.png", "b").await;
    transcribed(&source, ("crew", 1), "speech after all").await;

    let mut second = migration(&source, &target);
    let verified = second.catch_up_and_verify().await.unwrap();
    assert!(verified.is_equal(), "{:?}", verified.differences);
    assert_eq!(second.problems().count(), 0, "{:?}", second.problems().collect::<Vec<_>>());
    same(&source, &target).await;
    assert!(target.directory.standing(&device("brief")).await.unwrap().deleted);
    assert_eq!(found(&target, "speech").await, [1]);
    assert!(found(&target, "number 10").await.is_empty());
    // A renewed token is good at the target, and the one before it ends the session.
    let renewed = target.directory.sessions(&uid("a")).await.unwrap();
    assert_eq!(renewed[0].refresh, refresh("second"));
}

/// Somebody writes all the time; when they stop, one more run makes both sides the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn catches_up_with_a_source_in_use() {
    let (source, _dir) = disk().await;
    let target = memory().await;
    fill(&source).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (source, stop) = (source.clone(), stop.clone());
        async move {
            let mut n: u64 = 0;
            while !stop.load(Ordering::SeqCst) || n < 200 {
                n += 1;
                say(&source, Label::Bite, ("crew", 1_000 + n), "a", format!("bite {n}").as_bytes())
                    .await
                    .unwrap();
                if n.is_multiple_of(3) {
                    transcribed(&source, ("crew", 1_000 + n), &format!("late {n}")).await;
                }
                if n > 60 && n.is_multiple_of(4) {
                    // Long since moved; every other time something else is said at the same place.
                    let old = 940 + n;
                    source.bites.delete(&cid("crew"), old, 30_000).await.unwrap();
                    if n.is_multiple_of(8) {
                        say(&source, Label::Bite, ("crew", old), "b", b"anew").await.unwrap();
                    }
                }
                if n.is_multiple_of(5) {
                    let id = format!("n{n}");
                    user(&source, &id, Some(&id)).await;
                    source.directory.put_member(&cid("crew"), &uid(&id), Role::Member).await.unwrap();
                    if n.is_multiple_of(10) {
                        source.directory.delete_user(&uid(&id)).await.unwrap();
                    }
                }
            }
            n
        }
    });
    let mut migration = migration(&source, &target);
    migration.catch_up().await.unwrap();
    while source.bites.tail().await.unwrap() < 350 {
        migration.step().await.unwrap();
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::SeqCst);
    let written = writer.await.unwrap();
    let verified = migration.catch_up_and_verify().await.unwrap();
    assert!(verified.is_equal(), "{written}: {:?}", verified.differences);
    assert!(migration.moved().deleted > 10, "{:?}", migration.moved());
    assert_eq!(migration.problems().count(), 0, "{:?}", migration.problems().collect::<Vec<_>>());
    same(&source, &target).await;
}

/// Dropped at some await of many and begun again, until one run comes through: the same target.
#[tokio::test]
async fn is_interrupted_anywhere() {
    let source = memory().await;
    fill(&source).await;
    let (target, _dir) = disk().await;
    let (mut interrupted, mut most) = (0, 1);
    loop {
        let mut run = migration(&source, &target);
        let mut work = std::pin::pin!(run.catch_up());
        let mut polls = 0;
        let ended = std::future::poll_fn(|context| {
            if polls == most {
                return Poll::Ready(None);
            }
            polls += 1;
            work.as_mut().poll(context).map(Some)
        });
        match ended.await {
            Some(done) => {
                done.unwrap();
                break;
            }
            None => interrupted += 1,
        }
        // Each run gets a little further.
        most += 1 + most / 3;
    }
    assert!(interrupted > 3, "it was interrupted {interrupted} times only");
    let verified = migration(&source, &target).catch_up_and_verify().await.unwrap();
    assert!(verified.is_equal(), "{:?}", verified.differences);
    same(&source, &target).await;
    let at_once = memory().await;
    migration(&source, &at_once).catch_up().await.unwrap();
    assert_eq!(target.bites.tail().await.unwrap(), at_once.bites.tail().await.unwrap(), "a second copy");
}

/// What the target has and is different is named, and stays.
#[tokio::test]
async fn never_overwrites() {
    let (source, target) = (memory().await, memory().await);
    fill(&source).await;
    user(&target, "a", Some("somebody else")).await;
    say(&target, Label::Bite, ("crew", 4), "z", b"said at the target").await.unwrap();
    // Deleted at the source by another author.
    say(&target, Label::Bite, ("crew", 6), "z", b"also there").await.unwrap();
    for _ in 0..2 {
        let mut run = migration(&source, &target);
        let verified = run.catch_up_and_verify().await.unwrap();
        let conflicts: Vec<_> =
            run.problems().filter(|p| p.kind == ErrorKind::Conflict).map(|p| &*p.key).collect();
        assert_eq!(
            conflicts,
            ["bite/crew/4", "bite/crew/6", "transcription/crew/4", "user a"],
            "{:?}",
            run.problems().collect::<Vec<_>>()
        );
        let different: Vec<_> = verified.differences.iter().map(|d| &*d.key).collect();
        assert!(different.contains(&"bite/crew/4") && different.contains(&"user a"), "{different:?}");
        assert!(different.contains(&"bite/crew/6"), "{different:?}");
    }
    let kept = target.bites.get(&BiteKey::new(Label::Bite, cid("crew"), 4)).await.unwrap().unwrap();
    assert_eq!(&kept.body[..], b"said at the target");
    assert_eq!(target.directory.user(&uid("a")).await.unwrap().unwrap().username.unwrap(), "somebody else");
    // Everything else arrived.
    assert!(target.bites.head(&BiteKey::new(Label::Bite, cid("crew"), 5)).await.unwrap().is_some());
}

/// A damaged record is named and does not keep the others from moving.
#[tokio::test]
async fn does_not_copy_damage() {
    let (source, target) = (memory().await, memory().await);
    fill(&source).await;
    let lie = NewBite {
        label: Label::Bite,
        conversation: cid("crew"),
        start: Start::At(900),
        author: device("a"),
        media_type: "audio/wav".into(),
        duration_ms: None,
        body: (&b"these bytes"[..]).into(),
        sha256: Digest::of(b"other bytes"),
        received: 1,
        idempotency: None,
    };
    source.bites.put(lie).await.unwrap();
    say(&source, Label::Bite, ("crew", 901), "a", b"behind it").await.unwrap();
    let mut run = tokio::time::timeout(Duration::from_secs(60), async {
        let mut run = migration(&source, &target);
        run.catch_up().await.unwrap();
        run
    })
    .await
    .unwrap();
    let named: Vec<_> = run.problems().map(|p| (&*p.key, p.kind)).collect();
    assert_eq!(named, [("bite/crew/900", ErrorKind::Corrupt)]);
    assert!(target.bites.head(&BiteKey::new(Label::Bite, cid("crew"), 901)).await.unwrap().is_some());
    assert_eq!(run.catch_up_and_verify().await.unwrap().different, 1);
}

/// Changes that are no longer kept when a move goes on: people are looked at anew, deletions included.
#[tokio::test]
async fn goes_on_when_changes_are_forgotten() {
    let (source, _dir) = disk().await;
    let target = memory().await;
    fill(&source).await;
    migration(&source, &target).catch_up().await.unwrap();
    let d = &source.directory;
    user(&source, "new", None).await;
    d.delete_user(&uid("c")).await.unwrap();
    d.end_session(&device("b")).await.unwrap();
    d.remove_contact(&uid("a"), &uid("a")).await.unwrap();
    let patch = UserPatch { bio: Some("new words".into()), ..UserPatch::default() };
    d.patch_user(&uid("a"), patch).await.unwrap();
    // As the store does it by itself after a hundred thousand more.
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(_dir.path().join("beep.db"));
    let mut raw = sqlx::ConnectOptions::connect(&file).await.unwrap();
    let newest = d.last_change().await.unwrap() as i64;
    sqlx::query("DELETE FROM changes WHERE seq < ?1").bind(newest).execute(&mut raw).await.unwrap();
    source.blobs.delete("crew.png").await.unwrap();
    let mut run = migration(&source, &target);
    let verified = run.catch_up_and_verify().await.unwrap();
    assert!(verified.is_equal(), "{:?}", verified.differences);
    assert_eq!(run.problems().count(), 0, "{:?}", run.problems().collect::<Vec<_>>());
    assert!(target.directory.standing(&device("c")).await.unwrap().deleted);
}
