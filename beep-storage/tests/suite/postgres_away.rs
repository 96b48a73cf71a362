//! A Postgres that is killed, restarted, or away for a while.
#![cfg(feature = "store-postgres")]

use crate::services::postgres::Server;
use beep_core::ErrorKind;
use beep_core::id::{DeviceId, Identity, UserId};
use beep_core::store::{Directory, NewUser};
use beep_storage::postgres::{Postgres, PostgresDirectory};
use std::time::{Duration, Instant};

fn person(i: u64) -> NewUser {
    let (first_name, last_name) = (String::new(), String::new());
    let id = UserId::parse(&format!("u-{i}")).unwrap();
    NewUser { id, username: None, first_name, last_name, phone_number: format!("+{i}") }
}

fn identity() -> Identity {
    Identity { user: UserId::parse("u-0").unwrap(), device: DeviceId::parse("d").unwrap() }
}

/// So many calls at once that every connection of the pool is used; none of them fails.
async fn all_at_once(people: &PostgresDirectory) {
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let people = people.clone();
        reads.spawn(async move { people.standing(&identity()).await.unwrap() });
    }
    reads.join_all().await;
}

/// Who calls all the time is told "not now" while the server is away, in good time, and then goes on as before. What was
/// acknowledged stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_only_while_the_server_is_away() {
    let Some(mut server) = Server::start() else { return };
    let people = PostgresDirectory::new(&Postgres::open(&server.url()).await.unwrap());
    people.create_user(person(0)).await.unwrap();
    // Nobody called meanwhile: all connections of the pool are dead, and nobody knows. That is nobody's fault.
    all_at_once(&people).await;
    tokio::task::block_in_place(|| server.restart());
    tokio::time::sleep(Duration::from_secs(5)).await;
    all_at_once(&people).await;
    let mut next = 1;
    for away in [Duration::ZERO, Duration::from_secs(6)] {
        all_at_once(&people).await;
        tokio::task::block_in_place(|| server.stop());
        let gone = Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for i in 0..20 {
            let people = people.clone();
            calls.spawn(async move {
                let begun = Instant::now();
                let answer = if i % 2 == 0 {
                    people.standing(&identity()).await.map(drop)
                } else {
                    people.ready().await
                };
                (answer, begun.elapsed())
            });
        }
        tokio::time::sleep(away).await;
        tokio::task::block_in_place(|| server.restart());
        let back = Instant::now();
        for (answer, took) in calls.join_all().await {
            assert!(took < Duration::from_millis(5_500), "a call hung for {took:?}");
            if let Err(e) = answer {
                assert_eq!((e.kind(), e.is_temporary()), (ErrorKind::Unavailable, true), "{e}");
            }
        }
        // One call after the other, as long as the limit lasts: after it none may fail.
        let (mut failed, mut worst) = (Duration::ZERO, Duration::ZERO);
        while back.elapsed() < Duration::from_secs(6) {
            let begun = Instant::now();
            let answer = people.create_user(person(next)).await;
            worst = worst.max(begun.elapsed());
            match answer {
                Ok(_) => next += 1,
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}");
                    failed = back.elapsed();
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let away = back.duration_since(gone).as_millis();
        println!("goal=fails_after_return_ms value={} limit=5000 away_ms={away}", failed.as_millis());
        assert!(failed < Duration::from_secs(5), "calls failed until {failed:?} after the server was back");
        assert!(worst < Duration::from_millis(5_500), "a call hung for {worst:?}");
    }
    assert_eq!(people.users(None, 100_000).await.unwrap().len() as u64, next, "what was answered is there");
}
