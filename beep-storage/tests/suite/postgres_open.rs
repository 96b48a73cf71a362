//! Opening a PostgreSQL schema, also while it is made and by several nodes, and what calls that fail leave behind.
#![cfg(feature = "store-postgres")]

use crate::services::postgres::Schema;
use beep_core::ErrorKind;
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::store::{Directory, NewUser, Role, SearchDocument, SearchIndex, SearchQuery, UserPatch};
use beep_storage::postgres::{Postgres, PostgresDirectory, PostgresSearch};
use sqlx::{Connection as _, PgConnection};
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

fn said(seq: u64) -> SearchDocument {
    let author = Identity { user: uid("a"), device: DeviceId::parse("d").unwrap() };
    SearchDocument { seq, conversation: cid("c"), start: seq, author, text: "hello".into() }
}

fn hello() -> SearchQuery {
    SearchQuery { words: "hello".into(), conversations: None, before: None, limit: 100 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_fresh_schema_at_once() {
    let Some(schema) = Schema::fresh().await else { return };
    let mut opening = JoinSet::new();
    for i in 0..6 {
        let url = schema.url();
        opening.spawn(async move {
            let postgres = Postgres::open(&url).await?;
            PostgresDirectory::new(&postgres).create_user(person(&format!("u-{i}"))).await?;
            PostgresSearch::new(&postgres).index(vec![said(i + 1)]).await
        });
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
    let postgres = Postgres::open(&schema.url()).await.unwrap();
    assert_eq!(PostgresDirectory::new(&postgres).last_change().await.unwrap(), 6);
    assert_eq!(PostgresSearch::new(&postgres).search(hello()).await.unwrap().hits.len(), 6);
}

/// A node that is killed in the middle of a step of making the schema leaves the steps before it; the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_may_be_killed_at_any_step() {
    let Some(whole) = Schema::fresh().await else { return };
    drop(Postgres::open(&whole.url()).await.unwrap());
    let list = "SELECT version FROM _sqlx_migrations ORDER BY version";
    let steps: Vec<i64> = sqlx::query_scalar(list).fetch_all(&mut raw(&whole).await).await.unwrap();
    assert!(steps.len() >= 2);
    for (i, step) in steps.iter().enumerate() {
        let schema = Schema::fresh().await.unwrap();
        // Whoever takes this step finds its number taken by somebody who is not done yet: it waits at its very end.
        let (mut holder, mut db) = (raw(&schema).await, raw(&schema).await);
        let table =
            format!("CREATE TABLE _sqlx_migrations (LIKE {}._sqlx_migrations INCLUDING ALL)", whole.name());
        sqlx::raw_sql(sqlx::AssertSqlSafe(table)).execute(&mut holder).await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut holder).await.unwrap();
        sqlx::query("INSERT INTO _sqlx_migrations VALUES ($1, '', now(), true, '', 0)")
            .bind(step)
            .execute(&mut holder)
            .await
            .unwrap();
        let me: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut holder).await.unwrap();
        let url = schema.url();
        let opening = tokio::spawn(async move { Postgres::open(&url).await });
        let begun = Instant::now();
        loop {
            let killed: i64 = sqlx::query_scalar(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pg_blocking_pids(pid) @> ARRAY[$1]",
            )
            .bind(me)
            .fetch_one(&mut db)
            .await
            .unwrap();
            if killed > 0 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody comes to step {step}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(opening.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        let done: Vec<i64> = sqlx::query_scalar(list).fetch_all(&mut db).await.unwrap();
        assert_eq!(done, steps[..i], "whole steps only");
        let postgres = Postgres::open(&schema.url()).await.unwrap();
        let people = PostgresDirectory::new(&postgres);
        people.create_user(person("a")).await.unwrap();
        assert_eq!(people.last_change().await.unwrap(), 1);
        PostgresSearch::new(&postgres).index(vec![said(1)]).await.unwrap();
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_refused() {
    let Some(schema) = Schema::fresh().await else { return };
    drop(Postgres::open(&schema.url()).await.unwrap());
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'newer', now(), true, '', 0)")
        .execute(&mut raw(&schema).await)
        .await
        .unwrap();
    assert_eq!(Postgres::open(&schema.url()).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    assert_eq!(Postgres::open("mysql://nowhere").await.unwrap_err().kind(), ErrorKind::Malformed);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    let nowhere = Postgres::open(&format!("postgres://postgres@{free}/postgres")).await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(6));
    let Some(schema) = Schema::fresh().await else { return };
    let url = schema.url().replacen("search_path%3D", "search_path%3Dmissing_", 1);
    let missing = Postgres::open(&url).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Unavailable);
    assert!(missing.message().contains("schema"), "it says what to look at: {}", missing.message());
}

/// D11: in the original, a hundred failed deletions exhausted the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_conn_leak() {
    /// How many are open when all lie idle again.
    async fn idle(postgres: &Postgres) -> (usize, usize) {
        let begun = Instant::now();
        loop {
            let (open, idle) = postgres.connections();
            if open == idle || begun.elapsed() > Duration::from_secs(5) {
                return (open, idle);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let Some(schema) = Schema::fresh().await else { return };
    let postgres = Postgres::open(&schema.url()).await.unwrap();
    let people = PostgresDirectory::new(&postgres);
    people.create_user(person("a")).await.unwrap();
    people.create_user(NewUser { username: Some("taken".into()), ..person("b") }).await.unwrap();
    let mut reads = JoinSet::new();
    for _ in 0..50 {
        let people = people.clone();
        reads.spawn(async move { people.user(&uid("a")).await.unwrap() });
    }
    reads.join_all().await;
    let before = idle(&postgres).await;
    assert_eq!(before.0, before.1);
    for i in 0..250 {
        assert!(people.create_user(person("a")).await.is_err());
        assert!(people.put_member(&cid("none"), &uid("a"), Role::Member).await.is_err());
        assert!(people.set_pinned(&cid("none"), &uid("a"), i % 2 == 0).await.is_err());
        let patch = UserPatch { username: Some(Some("TAKEN".into())), ..UserPatch::default() };
        assert!(people.patch_user(&uid("a"), patch).await.is_err());
        // A caller who gives up half-way is as good as a failure.
        let late = format!("late-{i}");
        let given_up =
            tokio::time::timeout(Duration::from_micros(i * 10), people.create_user(person(&late))).await;
        if matches!(given_up, Ok(Ok(_))) {
            people.delete_user(&uid(&late)).await.unwrap();
        }
    }
    assert_eq!(idle(&postgres).await, before, "connections (open, idle)");
    let in_use: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid)
         WHERE a.state LIKE 'idle in transaction%' AND l.relation = 'users'::regclass",
    )
    .fetch_one(&mut raw(&schema).await)
    .await
    .unwrap();
    assert_eq!(in_use, 0, "no transaction stays open");
    let patch = UserPatch { bio: Some("still works".into()), ..UserPatch::default() };
    people.patch_user(&uid("a"), patch).await.unwrap();
}

/// A call waits for somebody's lock as long as its patience, and is told so; the lock's holder is not disturbed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_has_to_wait_does_not_hang() {
    let Some(schema) = Schema::fresh().await else { return };
    let people = directory(&schema).await;
    people.create_user(person("a")).await.unwrap();
    let mut holder = raw(&schema).await;
    sqlx::raw_sql("BEGIN; UPDATE users SET bio = 'not yet'").execute(&mut holder).await.unwrap();
    let (begun, a) = (Instant::now(), uid("a"));
    let patch = UserPatch { bio: Some("mine".into()), ..UserPatch::default() };
    let (waiting, read) = tokio::join!(people.patch_user(&a, patch), people.user(&a));
    assert_eq!(read.unwrap().unwrap().bio, "", "who reads does not wait, and sees the last commit");
    assert_eq!(waiting.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < Duration::from_millis(5_500), "{:?}", begun.elapsed());
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    assert_eq!(people.user(&a).await.unwrap().unwrap().bio, "not yet");
}

#[tokio::test]
async fn changes_that_are_no_longer_kept_are_not_skipped() {
    let Some(schema) = Schema::fresh().await else { return };
    let people = directory(&schema).await;
    people.create_user(person("a")).await.unwrap();
    // As if 102,000 things had happened since.
    sqlx::raw_sql(
        "INSERT INTO changes SELECT i, 0, 'a', '' FROM generate_series(2, 101999) i;
         UPDATE last_change SET seq = 101999",
    )
    .execute(&mut raw(&schema).await)
    .await
    .unwrap();
    people.create_user(person("b")).await.unwrap();
    let last = people.last_change().await.unwrap();
    assert_eq!(last, 102_000);
    for gone in [0, 1, 1_999] {
        assert_eq!(people.changes(gone, 10).await.unwrap_err().kind(), ErrorKind::Invalid, "behind {gone}");
    }
    assert_eq!(people.changes(2_000, 10).await.unwrap().len(), 10);
    assert_eq!(people.changes(last - 1, 10).await.unwrap().len(), 1);
    assert!(people.changes(last, 10).await.unwrap().is_empty());
    assert!(people.changes(u64::MAX, 10).await.unwrap().is_empty());
    people.create_user(person("c")).await.unwrap();
    assert_eq!(people.changes(2_000, 1).await.unwrap().len(), 1, "removed only a thousand at once");
}

/// Words and texts of any length, and phrases far behind where a `tsvector` keeps places.
#[tokio::test]
async fn no_text_is_too_long() {
    let Some(schema) = Schema::fresh().await else { return };
    let search = PostgresSearch::new(&Postgres::open(&schema.url()).await.unwrap());
    let index = async |seq, text: &str| {
        search.index(vec![SearchDocument { text: text.into(), ..said(seq) }]).await.unwrap();
    };
    let find = async |words: &str| {
        let query = SearchQuery { words: words.into(), ..hello() };
        search.search(query).await.unwrap().hits.into_iter().map(|hit| hit.seq).collect::<Vec<_>>()
    };
    let words: Vec<String> = (0..30_000).map(|i| format!("w{i} the")).collect();
    index(1, &words.join(" ")).await;
    assert_eq!(find("\"w29998 the w29999\"").await, [1], "behind 256 of one word and 16,383 of all");
    assert!(find("\"w29999 the w29998\"").await.is_empty());
    let long = "é".repeat(5_000);
    index(2, &format!("before {long}a behind")).await;
    index(3, &format!("before {long}b behind")).await;
    assert_eq!(find(&format!("{long}a")).await, [2], "long words differ at their ends");
    assert_eq!(find(&format!("{long}*")).await, [3, 2]);
    assert_eq!(find(&format!("{}*", &long[..3_000])).await, [3, 2]);
    assert_eq!(find(&format!("\"before {long}b\"")).await, [3]);
    assert!(find(&long).await.is_empty());
    let many: Vec<String> = (0..400_000).map(|i| format!("m{i}")).collect();
    index(4, &many.join(" ")).await;
    assert_eq!(find("m0 m1 m50000").await, [4], "more different words than a tsvector holds");
    let more: Vec<String> = (0..3_000).map(|i| format!("n{i}")).collect();
    index(5, &more.join(" ")).await;
    assert_eq!(find(&more.join(" ")).await, [5], "more words than are looked up");
    assert!(find(&format!("{} missing", more.join(" "))).await.is_empty());
    let shown =
        search.search(SearchQuery { words: "w29998".into(), ..hello() }).await.unwrap().hits.remove(0);
    assert!(shown.snippet.contains("\u{2}w29998\u{3}") && shown.snippet.len() < 400, "{}", shown.snippet);
}
