//! SQLite's files: what they keep, who may open them at once, and that a failing call leaves no connection behind.
#![cfg(feature = "store-sqlite")]

use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::store::{
    Directory, NewConversation, NewUser, Role, SearchDocument, SearchIndex, SearchQuery, UserPatch,
};
use beep_core::{ErrorKind, Result};
use beep_storage::sqlite::{SqliteDirectory, SqliteSearch};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use std::path::Path;
use std::time::{Duration, Instant};

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

fn said(seq: u64, text: &str) -> SearchDocument {
    let author = Identity { user: uid("a"), device: DeviceId::parse("d").unwrap() };
    SearchDocument { seq, conversation: cid("c"), start: seq, author, text: text.into() }
}

fn asks(words: &str) -> SearchQuery {
    SearchQuery { words: words.into(), conversations: None, before: None, limit: 10 }
}

async fn raw(file: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

async fn directory(dir: &Path) -> Result<SqliteDirectory> {
    SqliteDirectory::open(&dir.join("beep.db")).await
}

async fn search(dir: &Path) -> Result<SqliteSearch> {
    SqliteSearch::open(&dir.join("search.db")).await
}

/// Phone numbers and what people said are nobody else's to read, in whatever folder the files are.
#[cfg(unix)]
#[tokio::test]
async fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let people = directory(dir.path()).await.unwrap();
    people.create_user(person("u-1")).await.unwrap();
    let index = search(dir.path()).await.unwrap();
    index.index(vec![said(1, "secret")]).await.unwrap();
    let mut modes = Vec::new();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        modes.push((file.file_name(), file.metadata().unwrap().permissions().mode() & 0o777));
    }
    assert!(modes.len() >= 4, "files and their journals: {modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    {
        let people = directory(dir.path()).await.unwrap();
        people.create_user(person("a")).await.unwrap();
        let new = NewConversation { id: cid("c"), title: "t".into(), picture: "p".into(), owner: uid("a") };
        people.create_conversation(new).await.unwrap();
        people.set_pinned(&cid("c"), &uid("a"), true).await.unwrap();
        people.set_last_heard(&cid("c"), &uid("a"), 1 << 63).await.unwrap();
        people.put_contact(&uid("a"), &uid("a")).await.unwrap();
        search(dir.path()).await.unwrap().index(vec![said(1, "hello")]).await.unwrap();
    }
    let people = directory(dir.path()).await.unwrap();
    let own = people.memberships(&uid("a")).await.unwrap();
    assert_eq!((own[0].role, own[0].pinned, own[0].last_heard), (Role::Owner, true, 1 << 63));
    assert_eq!(people.contacts(&uid("a")).await.unwrap().len(), 1);
    assert_eq!(people.changes(0, 10).await.unwrap().len(), 5);
    people.create_user(person("b")).await.unwrap();
    assert_eq!(people.last_change().await.unwrap(), 6, "positions go on where they stopped");
    assert_eq!(search(dir.path()).await.unwrap().search(asks("hello")).await.unwrap().hits.len(), 1);
}

#[tokio::test]
async fn what_is_answered_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let _open = directory(dir.path()).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut raw(&dir.path().join("beep.db")).await)
        .await
        .unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn many_may_open_a_new_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut opening = tokio::task::JoinSet::new();
    for i in 0..8 {
        let dir = dir.path().to_owned();
        opening.spawn(async move {
            let people = directory(&dir).await?;
            people.create_user(person(&format!("u{i}"))).await?;
            search(&dir).await?.index(vec![said(i + 1, "hello")]).await
        });
    }
    while let Some(done) = opening.join_next().await {
        done.unwrap().expect("opening waits for whoever makes the file");
    }
    assert_eq!(directory(dir.path()).await.unwrap().users(None, 100).await.unwrap().len(), 8);
    assert_eq!(search(dir.path()).await.unwrap().search(asks("hello")).await.unwrap().hits.len(), 8);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(directory(dir.path()).await.unwrap());
    let mut db = raw(&dir.path().join("beep.db")).await;
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'newer', '', true, x'00', 0)")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    let refused = directory(dir.path()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("beep.db"),
        "not a database, but long enough to be looked at ".repeat(100),
    )
    .unwrap();
    assert_eq!(directory(dir.path()).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let nowhere = directory(&dir.path().join("missing")).await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Unavailable);
    assert!(!nowhere.message().contains("code"), "SQLite's own words are for the log: {}", nowhere.message());
}

#[tokio::test]
async fn an_up_to_date_file_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    drop((directory(dir.path()).await.unwrap(), search(dir.path()).await.unwrap()));
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let stores = (directory(dir.path()).await.unwrap(), search(dir.path()).await.unwrap());
        best = best.min(begun.elapsed());
        drop(stores);
    }
    println!("goal=open_both_files_ms value={:.1} limit=50", best.as_secs_f64() * 1e3);
    assert!(best < Duration::from_millis(50), "{best:?}");
}

/// D11: in the original, a hundred failed deletions exhausted the database.
#[tokio::test]
async fn no_conn_leak() {
    async fn idle(people: &SqliteDirectory) -> (usize, usize) {
        // A connection goes back to the pool a moment after the answer.
        for _ in 0..200 {
            if people.idle_connections().0 == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        people.idle_connections()
    }
    let dir = tempfile::tempdir().unwrap();
    let people = directory(dir.path()).await.unwrap();
    people.create_user(person("a")).await.unwrap();
    people.create_user(NewUser { username: Some("taken".into()), ..person("b") }).await.unwrap();
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let people = people.clone();
        reads.spawn(async move { people.user(&uid("a")).await.unwrap() });
    }
    reads.join_all().await;
    let before = idle(&people).await;
    for i in 0..200 {
        assert!(people.create_user(person("a")).await.is_err());
        assert!(people.put_member(&cid("none"), &uid("a"), Role::Member).await.is_err());
        assert!(people.set_pinned(&cid("none"), &uid("a"), i % 2 == 0).await.is_err());
        let patch = UserPatch { username: Some(Some("TAKEN".into())), ..UserPatch::default() };
        assert!(people.patch_user(&uid("a"), patch).await.is_err());
        // A caller who gives up half-way is as good as a failure.
        let late = format!("late-{i}");
        let new = person(&late);
        let given_up = tokio::time::timeout(Duration::from_micros(i), people.create_user(new)).await;
        if matches!(given_up, Ok(Ok(_))) {
            people.delete_user(&uid(&late)).await.unwrap();
        }
    }
    assert_eq!(idle(&people).await, before, "idle connections (writing, reading)");
    people
        .patch_user(&uid("a"), UserPatch { bio: Some("still works".into()), ..UserPatch::default() })
        .await
        .unwrap();
}

#[tokio::test]
async fn reads_do_not_wait_for_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let people = directory(dir.path()).await.unwrap();
    people.create_user(person("a")).await.unwrap();
    let mut other = raw(&dir.path().join("beep.db")).await;
    sqlx::raw_sql("BEGIN IMMEDIATE; UPDATE users SET bio = 'not yet'").execute(&mut other).await.unwrap();
    let read =
        tokio::time::timeout(Duration::from_secs(1), people.user(&uid("a"))).await.expect("does not wait");
    assert_eq!(read.unwrap().unwrap().bio, "", "and sees the last commit");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(people.user(&uid("a")).await.unwrap().unwrap().bio, "not yet");
}

#[tokio::test]
async fn changes_that_are_no_longer_kept_are_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let people = directory(dir.path()).await.unwrap();
    people.create_user(person("a")).await.unwrap();
    // As if 100,000 things had happened since.
    sqlx::raw_sql(
        "INSERT INTO changes (kind, a) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100005)
         SELECT 0, 'a' FROM n",
    )
    .execute(&mut raw(&dir.path().join("beep.db")).await)
    .await
    .unwrap();
    people.create_user(person("b")).await.unwrap();
    let last = people.last_change().await.unwrap();
    assert_eq!(last, 100_007);
    for gone in [0, 1, 6] {
        assert_eq!(people.changes(gone, 10).await.unwrap_err().kind(), ErrorKind::Invalid, "behind {gone}");
    }
    assert_eq!(people.changes(7, 10).await.unwrap().len(), 10);
    assert_eq!(people.changes(last - 1, 10).await.unwrap().len(), 1);
    assert!(people.changes(last, 10).await.unwrap().is_empty());
    assert!(people.changes(u64::MAX, 10).await.unwrap().is_empty());
}
