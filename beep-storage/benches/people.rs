//! What people cost: a permission that is remembered, and each call of the directory among few and among many users.
//!
//! `BEEP_FIGURES_USERS` (1,000,000) users with ten memberships each are compared with 1,000. A goal missed fails the run.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::auth::{Authenticator, Scope, TokenIssuer};
use beep_core::clock::System;
use beep_core::id::{ConversationId, Identity, UserId};
use beep_core::permission::{Action, Gate};
use beep_core::store::{Directory, Role, UserPatch};
use beep_storage::sqlite::SqliteDirectory;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

const FEW: u64 = 1_000;
/// Members of a conversation, and conversations of a user.
const CREW: u64 = 10;
const ROUNDS: usize = 5;
const CALLS: u64 = 400;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let many = std::env::var("BEEP_FIGURES_USERS").map_or(1_000_000, |n| n.parse().unwrap());
        let (few, many) = (Town::build(FEW).await, Town::build(many).await);
        let off = remembered(&few).await | compared(&few, &many).await;
        ExitCode::from(u8::from(off))
    })
}

fn goal(id: &str, value: f64, limit: f64, detail: &str) -> bool {
    println!("goal={id} value={value:.3} limit={limit} {detail}");
    value > limit
}

/// Users `u-0`… in conversations `c-0`…, and the directory that has them.
struct Town {
    directory: Arc<SqliteDirectory>,
    users: u64,
    _dir: TempDir,
}

impl Town {
    /// Filled by SQL: ten million memberships one by one would take an hour of syncs.
    async fn build(users: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("directory.sqlite");
        drop(SqliteDirectory::open(&file).await.unwrap());
        let begun = Instant::now();
        let mut db: SqliteConnection = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
        for step in [
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; BEGIN".to_owned(),
            format!(
                "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {users} - 1)
                 INSERT INTO users (key, id, username, username_key, first_name, last_name, phone_number)
                 SELECT i + 1, 'u-' || i, 'name' || i, 'name' || i, 'First', 'Last', '+' || (6590000000 + i) FROM n"
            ),
            format!(
                "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {users} - 1)
                 INSERT INTO conversations (key, id, title, picture) SELECT i + 1, 'c-' || i, 'Title', '' FROM n"
            ),
            format!(
                "INSERT INTO members (conversation, user, role)
                 SELECT c.key, (c.key + d.i * 37) % {users} + 1, CASE d.i WHEN 0 THEN 3 ELSE 1 END
                 FROM conversations c, (WITH RECURSIVE d(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM d WHERE i < {CREW} - 1)
                                        SELECT i FROM d) d ORDER BY 1, 2"
            ),
            format!("INSERT INTO contacts (owner, contact) SELECT key, key % {users} + 1 FROM users"),
            "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)".to_owned(),
        ] {
            db.execute(sqlx::AssertSqlSafe(step)).await.unwrap();
        }
        drop(db);
        println!(
            "{users} users, {} memberships: made in {:.0} s",
            users * CREW,
            begun.elapsed().as_secs_f64()
        );
        let directory = Arc::new(SqliteDirectory::open(&file).await.unwrap());
        Self { directory, users, _dir: dir }
    }

    /// Somebody, spread over all of them.
    fn user(&self, n: u64) -> UserId {
        format!("u-{}", n.wrapping_mul(7_919_777) % self.users).parse().unwrap()
    }

    fn conversation(&self, n: u64) -> ConversationId {
        format!("c-{}", n.wrapping_mul(7_919_777) % self.users).parse().unwrap()
    }

    /// The owner of that conversation.
    fn owner(&self, n: u64) -> UserId {
        let key = n.wrapping_mul(7_919_777) % self.users + 1;
        format!("u-{}", key % self.users).parse().unwrap()
    }
}

/// Token, session and membership, all of them known.
async fn remembered(town: &Town) -> bool {
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    let jwt = Jwt::new(vec![key], JwtConfig::default(), Arc::new(System), Arc::new(System)).unwrap();
    let gate = Gate::new(town.directory.clone());
    gate.begin().await.unwrap();
    let asked: Vec<_> = (0..300)
        .map(|n| {
            let who = Identity { user: town.owner(n), device: "phone".parse().unwrap() };
            (jwt.issue(&who, Scope::User).unwrap(), town.conversation(n))
        })
        .collect();
    let mut times = Vec::new();
    for _ in 0..=ROUNDS * 10 {
        let begun = Instant::now();
        for (token, conversation) in &asked {
            let verified = jwt.verify(token).unwrap();
            gate.admit(&verified).await.unwrap();
            black_box(gate.check(&verified.identity, conversation, Action::Speak).await.unwrap());
        }
        times.push(begun.elapsed().as_secs_f64() * 1e6 / asked.len() as f64);
    }
    times.sort_by(f64::total_cmp);
    goal("permission-cached-us", times[times.len() / 2], 5.0, "token, session and membership")
}

/// Each call among many users and among few, in turns.
async fn compared(few: &Town, many: &Town) -> bool {
    let both = (few, many);
    let bio = |n: u64| UserPatch { bio: Some(format!("bio {n}")), ..UserPatch::default() };
    let mut off = false;
    off |= compare("user", both, async |t, n| drop(t.directory.user(&t.user(n)).await.unwrap())).await;
    off |= compare("user-by-phone", both, async |t, n| {
        let number = format!("+{}", 6_590_000_000 + n.wrapping_mul(7_919_777) % t.users);
        assert!(t.directory.user_by_phone(&number).await.unwrap().is_some());
    })
    .await;
    off |= compare("user-by-username", both, async |t, n| {
        let name = format!("name{}", n.wrapping_mul(7_919_777) % t.users);
        assert!(t.directory.user_by_username(&name).await.unwrap().is_some());
    })
    .await;
    off |= compare("role", both, async |t, n| {
        assert!(t.directory.role(&t.conversation(n), &t.owner(n)).await.unwrap().is_some());
    })
    .await;
    off |= compare("standing", both, async |t, n| {
        let who = Identity { user: t.user(n), device: "phone".parse().unwrap() };
        black_box(t.directory.standing(&who).await.unwrap());
    })
    .await;
    off |= compare("members", both, async |t, n| {
        assert!(!t.directory.members(&t.conversation(n)).await.unwrap().is_empty());
    })
    .await;
    off |= compare("memberships", both, async |t, n| {
        assert!(!t.directory.memberships(&t.user(n)).await.unwrap().is_empty());
    })
    .await;
    off |= compare("contacts", both, async |t, n| {
        assert!(!t.directory.contacts(&t.user(n)).await.unwrap().is_empty());
    })
    .await;
    // Each of these is on disk before it returns: the disk decides, for both alike.
    off |= compare("patch-user", both, async |t, n| {
        drop(t.directory.patch_user(&t.user(n), bio(n)).await.unwrap())
    })
    .await;
    off |= compare("last-heard", both, async |t, n| {
        t.directory.set_last_heard(&t.conversation(n), &t.owner(n), n + 1).await.unwrap();
    })
    .await;
    off |= compare("member-added-and-removed", both, async |t, n| {
        let (conversation, user) = (t.conversation(n), t.user(n + 1));
        t.directory.put_member(&conversation, &user, Role::Member).await.unwrap();
        t.directory.remove_member(&conversation, &user).await.unwrap();
    })
    .await;
    off
}

/// The time that one of a hundred calls needs or more (p99), as a ratio; medians of the rounds.
async fn compare(name: &str, (few, many): (&Town, &Town), call: impl AsyncFn(&Town, u64)) -> bool {
    let (mut among_few, mut among_many) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS as u64 {
        for (town, times) in [(few, &mut among_few), (many, &mut among_many)] {
            let mut one = Vec::new();
            for n in round * CALLS..(round + 1) * CALLS {
                let begun = Instant::now();
                call(town, n).await;
                one.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            one.sort_by(f64::total_cmp);
            // The first round fills caches.
            if round > 0 {
                times.push(one[one.len() * 99 / 100]);
            }
        }
    }
    among_few.sort_by(f64::total_cmp);
    among_many.sort_by(f64::total_cmp);
    let (slow, slower) = (among_few[ROUNDS / 2], among_many[ROUNDS / 2]);
    let detail = format!("p99 among {}: {slow:.0} us, among {}: {slower:.0} us", few.users, many.users);
    goal(&format!("people-{name}-p99"), slower / slow, 2.0, &detail)
}
