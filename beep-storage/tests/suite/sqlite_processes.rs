//! Several processes on the same SQLite files, and processes that are killed while they write.
#![cfg(feature = "store-sqlite")]

use beep_core::ErrorKind;
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::store::{Change, Directory, NewUser, SearchDocument, SearchIndex, SearchQuery};
use beep_storage::sqlite::{SqliteDirectory, SqliteSearch};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const DIR: &str = "BEEP_TEST_DIR";
const NAME: &str = "BEEP_TEST_NAME";
const COUNT: &str = "BEEP_TEST_COUNT";

async fn open(dir: &Path) -> (SqliteDirectory, SqliteSearch) {
    let people = SqliteDirectory::open(&dir.join("beep.db")).await.unwrap();
    (people, SqliteSearch::open(&dir.join("search.db")).await.unwrap())
}

fn person(id: &str, phone_number: String) -> NewUser {
    let (first_name, last_name) = (String::new(), String::new());
    NewUser { id: UserId::parse(id).unwrap(), username: None, first_name, last_name, phone_number }
}

fn said(process: u64, i: u64) -> SearchDocument {
    SearchDocument {
        seq: process * 1_000_000 + i + 1,
        conversation: ConversationId::parse(&format!("c-{process}")).unwrap(),
        start: i,
        author: Identity { user: UserId::parse("u").unwrap(), device: DeviceId::parse("d").unwrap() },
        text: format!("hello n{process}x{i}"),
    }
}

/// Not a test of its own: what the other processes do. Writes, and tells each acknowledged write on standard output.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let process: u64 = std::env::var(NAME).unwrap().parse().unwrap();
    let count: u64 = std::env::var(COUNT).unwrap().parse().unwrap();
    let (people, search) = open(Path::new(&dir)).await;
    for i in 0..count {
        people.create_user(person(&format!("u-{process}-{i}"), format!("+{process}-{i}"))).await.unwrap();
        match people.create_user(person(&format!("v-{process}-{i}"), format!("+both-{i}"))).await {
            Ok(_) => println!("\nwon {i}"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict, "{e}"),
        }
        search.index(vec![said(process, i)]).await.unwrap();
        println!("\nack {i}");
    }
}

fn spawn(dir: &Path, process: u64, count: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sqlite_processes::child", "--nocapture"])
        .env(DIR, dir)
        .env(NAME, process.to_string())
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The numbers behind a word in what a child said.
fn told(lines: &[String], word: &str) -> Vec<u64> {
    lines.iter().filter_map(|l| l.strip_prefix(word)?.trim().parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_the_files() {
    const EACH: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let mut children: Vec<Child> = (1..=2).map(|process| spawn(dir.path(), process, EACH)).collect();
    let (people, search) = open(dir.path()).await;
    let reading = std::thread::spawn({
        let outputs: Vec<_> = children.iter_mut().map(|c| c.stdout.take().unwrap()).collect();
        move || {
            let read = |out| BufReader::new(out).lines().map_while(Result::ok).collect::<Vec<String>>();
            outputs.into_iter().map(read).collect::<Vec<_>>()
        }
    });
    // Follows the changes while both write, as a server beside a command line does.
    let (mut after, mut seen) = (0, Vec::new());
    let mut running = true;
    while running {
        running = children.iter_mut().any(|c| c.try_wait().unwrap().is_none());
        loop {
            let page = people.changes(after, 7).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(
                page.iter().zip(after + 1..).all(|(entry, seq)| entry.seq == seq),
                "no gap behind a reader"
            );
            after = last.seq;
            seen.extend(page.into_iter().map(|e| e.change));
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let lines = reading.join().unwrap();
    for (child, lines) in children.iter_mut().zip(&lines) {
        assert!(child.wait().unwrap().success(), "{lines:?}");
        assert_eq!(told(lines, "ack").len() as u64, EACH);
    }
    let won: Vec<u64> = lines.iter().flat_map(|l| told(l, "won")).collect();
    assert_eq!(won.len() as u64, EACH, "each number that both claimed went to one of them");
    assert_eq!(won.iter().collect::<BTreeSet<_>>().len() as u64, EACH);
    let users: BTreeSet<_> =
        seen.iter().map(|c| matches!(c, Change::User(_)).then(|| format!("{c:?}"))).collect();
    assert_eq!((seen.len() as u64, users.len() as u64), (3 * EACH, 3 * EACH), "every change was told once");
    assert_eq!(people.users(None, 10_000).await.unwrap().len() as u64, 3 * EACH);
    let query = SearchQuery { words: "hello".into(), conversations: None, before: None, limit: 100 };
    assert_eq!(search.search(query).await.unwrap().hits.len(), 100);
    for (process, i) in [(1, 0), (1, EACH - 1), (2, 0), (2, EACH - 1)] {
        let query =
            SearchQuery { words: format!("n{process}x{i}"), conversations: None, before: None, limit: 9 };
        assert_eq!(search.search(query).await.unwrap().hits.len(), 1, "{process} {i}");
    }
}

/// What was acknowledged is there, whenever the writer dies; the next one just goes on.
#[tokio::test]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for process in 1..=10 {
        let mut child = spawn(dir.path(), process, 1_000_000);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // A few more each time, so that death comes at different places of the file.
        let until = 3 + process * 2;
        for line in lines.by_ref() {
            if line == format!("ack {until}") {
                child.kill().unwrap();
                break;
            }
        }
        let late: Vec<String> = lines.collect();
        child.wait().unwrap();
        let last = told(&late, "ack").into_iter().max().unwrap_or(until);
        acknowledged.extend((0..=last).map(|i| (process, i)));
        let (people, search) = open(dir.path()).await;
        for (process, i) in &acknowledged {
            let user = UserId::parse(&format!("u-{process}-{i}")).unwrap();
            assert!(people.user(&user).await.unwrap().is_some(), "{user} was acknowledged and is gone");
            let words = format!("n{process}x{i}");
            let query = SearchQuery { words: words.clone(), conversations: None, before: None, limit: 9 };
            assert_eq!(
                search.search(query).await.unwrap().hits.len(),
                1,
                "{words} was acknowledged and is gone"
            );
        }
        let users = people.users(None, 100_000).await.unwrap().len() as u64;
        assert_eq!(people.last_change().await.unwrap(), users, "one change for each user, no more, no less");
    }
    println!("goal=acknowledged_and_lost value=0 limit=0 of={}", acknowledged.len());
}
