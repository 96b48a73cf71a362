//! Bites in Postgres beside a bare driver that writes the same rows in batches of as many: bites per second, with bytes in
//! the rows and beside them in a folder.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

#[allow(dead_code)] // the tests use the rest
#[path = "../tests/services/mod.rs"]
mod services;

use beep_core::bite::{Digest, Label};
use beep_core::id::Identity;
use beep_core::store::{BiteStore, NewBite, Start};
use beep_storage::Bodies;
use beep_storage::object::Objects;
use beep_storage::postgres::{Postgres, PostgresBites};
use bytes::Bytes;
use futures_util::future::join_all;
use services::postgres::Server;
use sqlx::{Connection, PgConnection};
use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TURN: Duration = Duration::from_millis(800);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (Some(ours), Some(theirs)) = (Server::start(), Server::start()) else { return ExitCode::SUCCESS };
        let folder = tempfile::tempdir().unwrap();
        let url = |name| format!("file:{}", folder.path().join(name).display());
        let bodies: Arc<dyn Bodies> = Arc::new(Objects::open(&url("ours")).unwrap());
        let store = PostgresBites::new(&Postgres::open(&ours.url()).await.unwrap(), Some(bodies));
        // Makes the same tables; everything else there is the bare driver's.
        drop(Postgres::open(&theirs.url()).await.unwrap());
        let mut bare = Bare {
            db: PgConnection::connect(&theirs.url()).await.unwrap(),
            folder: Objects::open(&url("theirs")).unwrap(),
            next: 1,
        };
        let next = Cell::new(1);
        let mut missed = false;
        for (goal, size, together, limit) in [
            ("postgres-ingest-4k-64", 4 << 10, 64, Some(0.7)),
            ("postgres-ingest-32k-16-folder", 32 << 10, 16, Some(0.7)),
            ("postgres-ingest-4k-1", 4 << 10, 1, None),
        ] {
            let rounds = std::env::var("BEEP_FIGURES_ROUNDS").map_or(5, |n| n.parse().unwrap());
            let (mut a, mut b) = (Vec::new(), Vec::new());
            // The first turns are not counted: plans are made, files grow.
            for round in 0..=rounds {
                let (x, y) = (through(&store, &next, size, together).await, bare.turn(size, together).await);
                if round > 0 {
                    a.push(x);
                    b.push(y);
                }
            }
            let (a, b) = (median(a), median(b));
            let value = a / b;
            let limit_shown = limit.map_or("none".into(), |limit: f64| limit.to_string());
            println!("goal={goal} value={value:.3} limit={limit_shown} limit_is=at-least beep={a:.0}/s bare={b:.0}/s");
            missed |= limit.is_some_and(|limit| value < limit);
        }
        let report = std::env::var("BEEP_FIGURES").is_ok_and(|mode| mode == "report");
        ExitCode::from(u8::from(missed && !report))
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn body(n: u64, size: usize) -> Bytes {
    let mut bytes = vec![0x5a; size];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes.into()
}

/// So many callers, each with its next bite as soon as the one before is durable.
async fn through(store: &PostgresBites, next: &Cell<u64>, size: usize, together: usize) -> f64 {
    let author = Identity { user: "u-alice".parse().unwrap(), device: "phone".parse().unwrap() };
    let (begun, done) = (Instant::now(), Cell::new(0u64));
    join_all((0..together).map(|_| async {
        while begun.elapsed() < TURN {
            let n = next.replace(next.get() + 1);
            let body = body(n, size);
            let new = NewBite {
                label: Label::Bite,
                conversation: "c-crew".parse().unwrap(),
                start: Start::At(n),
                author: author.clone(),
                media_type: "audio/wav".into(),
                duration_ms: Some(1_000),
                sha256: Digest::of(&body),
                body,
                received: n,
                idempotency: None,
            };
            store.put(new).await.unwrap().entry.unwrap();
            done.set(done.get() + 1);
        }
    }))
    .await;
    done.get() as f64 / begun.elapsed().as_secs_f64()
}

/// One connection that writes batch after batch; nobody waits in a queue, nothing is checked.
struct Bare {
    db: PgConnection,
    folder: Objects,
    next: i64,
}

impl Bare {
    async fn turn(&mut self, size: usize, together: usize) -> f64 {
        let (begun, mut done) = (Instant::now(), 0);
        while begun.elapsed() < TURN {
            self.batch(size, together).await;
            done += together;
        }
        done as f64 / begun.elapsed().as_secs_f64()
    }

    async fn batch(&mut self, size: usize, together: usize) {
        let ids: Vec<i64> = (self.next..).take(together).collect();
        self.next += together as i64;
        let bodies: Vec<Bytes> = ids.iter().map(|id| body(*id as u64, size)).collect();
        let digests: Vec<Vec<u8>> = bodies.iter().map(|body| Digest::of(body).0.to_vec()).collect();
        let beside = size > 16 << 10;
        let names: Vec<Option<String>> =
            ids.iter().map(|id| beside.then(|| format!("bite-{id:032x}"))).collect();
        if beside {
            let puts = names.iter().zip(&bodies).map(|(name, body)| {
                let name = name.clone().unwrap();
                let folder = &self.folder;
                async move { folder.put(&name, body.clone()).await.unwrap() }
            });
            join_all(puts).await;
        }
        let mut tx = self.db.begin().await.unwrap();
        if !beside {
            sqlx::query(
                "INSERT INTO bite_bodies (id, bytes) SELECT * FROM unnest($1::bigint[], $2::bytea[])",
            )
            .bind(&ids)
            .bind(bodies.iter().map(|body| &body[..]).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        let last: i64 = sqlx::query_scalar("SELECT last FROM bite_log_tail FOR UPDATE")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        sqlx::query(
            "INSERT INTO bites (label, conversation, start, author, device, media_type, duration_ms, bytes, sha256, sum,
                 seal, received, inline, object)
             SELECT 1, 'c-crew', id, 'u-alice', 'phone', 'audio/wav', 1000, $2, sha256, 1, 1, id,
                 CASE WHEN object IS NULL THEN id END, object
             FROM unnest($1::bigint[], $3::bytea[], $4::text[]) AS i (id, sha256, object)",
        )
        .bind(&ids)
        .bind(size as i64)
        .bind(&digests)
        .bind(&names)
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO bite_log (seq, at, kind, label, conversation, start, author, device, writer, batch, item)
             SELECT $2 + item, id, 1, 1, 'c-crew', id, 'u-alice', 'phone', 1, 1, item
             FROM unnest($1::bigint[]) WITH ORDINALITY AS i (id, item)",
        )
        .bind(&ids)
        .bind(last)
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query("UPDATE bite_log_tail SET last = $1")
            .bind(last + together as i64)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}
