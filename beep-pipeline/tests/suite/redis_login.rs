//! Signing in on two servers that share a Redis: they count together, and without it nobody gets in.

use crate::services::redis::Server;
use async_trait::async_trait;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::auth::{Authenticator as _, SmsSender};
use beep_core::clock::System;
use beep_core::id::DeviceId;
use beep_core::store::{NewUser, Stores};
use beep_core::{ErrorKind, Result};
use beep_pipeline::Beep;
use beep_pipeline::services::login::{Limits, Login, LoginOptions, Names, SignedIn, TRIES};
use beep_storage::StorageConfig;
use beep_storage::redis::RedisEphemeral;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ALICE: &str = "+6591111111";
const BOB: &str = "+6592222222";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long one call to Redis may take. Signing in stops at the first that fails.
const PROMISED: Duration = Duration::from_secs(2);
const RETURN: Duration = Duration::from_secs(5);

/// Keeps what it was to send.
#[derive(Debug, Default)]
struct Phones(Mutex<Vec<String>>);

#[async_trait]
impl SmsSender for Phones {
    async fn send(&self, _: &str, text: &str) -> Result<()> {
        self.0.lock().unwrap().push(text.to_owned());
        Ok(())
    }
}

/// One server of an installation.
struct Node {
    login: Login,
    beep: Beep,
}

/// Two servers over one directory and one Redis.
struct World {
    nodes: [Arc<Node>; 2],
    stores: Stores,
    phones: Arc<Phones>,
    jwt: Arc<Jwt>,
}

impl World {
    async fn on(server: &Server, limits: Limits) -> Self {
        let stores = beep_storage::open(&StorageConfig::memory(), Arc::new(System)).await.unwrap();
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let jwt = Jwt::new(vec![key], JwtConfig::default(), Arc::new(System), Arc::new(System)).unwrap();
        let (jwt, phones) = (Arc::new(jwt), Arc::new(Phones::default()));
        let node = async || {
            let ephemeral = Arc::new(RedisEphemeral::open(&server.url()).await.unwrap());
            let beep = Beep::builder(Stores { ephemeral, ..stores.clone() }).start().await.unwrap();
            let options = LoginOptions { limits: limits.clone(), test_numbers: Vec::new() };
            let sms: Arc<dyn SmsSender> = phones.clone();
            let login = Login::new(beep.clone(), jwt.clone(), Some(sms), Arc::new(System), options);
            Arc::new(Node { login, beep })
        };
        let nodes = [node().await, node().await];
        Self { nodes, stores, phones, jwt }
    }

    fn sent(&self) -> usize {
        self.phones.0.lock().unwrap().len()
    }

    /// Code and attempt, asked of the first server.
    async fn asked(&self) -> (String, String) {
        let nonce = self.nodes[0].login.init(ALICE, HERE).await.unwrap();
        (self.code(), nonce)
    }

    /// The code that was sent last.
    fn code(&self) -> String {
        let sent = self.phones.0.lock().unwrap();
        sent.last().unwrap().chars().take_while(char::is_ascii_digit).collect()
    }

    async fn verify(&self, node: usize, code: &str, nonce: &str) -> Result<SignedIn> {
        self.nodes[node].login.verify(code, nonce, device(), HERE).await
    }

    /// Until somebody can sign in again, on both servers.
    async fn returns(&self) {
        let began = Instant::now();
        for node in 0..2 {
            loop {
                match self.nodes[node].login.init(ALICE, HERE).await {
                    Ok(_) => break,
                    Err(e) => assert!(began.elapsed() < RETURN, "{e}"),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let (code, nonce) = self.asked().await;
            self.verify(node, &code, &nonce).await.unwrap();
        }
    }

    /// Nothing about signing in works on either server, in time, and nothing is sent or spent for it.
    async fn fails_closed(&self, code: &str, nonce: &str) {
        let sent = self.sent();
        for node in &self.nodes {
            let began = Instant::now();
            assert_eq!(kind(node.login.init(ALICE, HERE).await), Some(ErrorKind::Unavailable));
            assert!(began.elapsed() < PROMISED);
            let began = Instant::now();
            let verified = node.login.verify(code, nonce, device(), HERE).await;
            assert_eq!(kind(verified), Some(ErrorKind::Unavailable));
            assert!(began.elapsed() < PROMISED);
            let names = Names { first_name: "Eve".into(), last_name: "Test".into(), ..Names::default() };
            let registered = node.login.register(code, nonce, names, HERE).await;
            assert_eq!(kind(registered), Some(ErrorKind::Unavailable));
        }
        assert_eq!(self.sent(), sent);
    }
}

fn device() -> DeviceId {
    "phone".parse().unwrap()
}

fn kind<T>(answer: Result<T>) -> Option<ErrorKind> {
    answer.err().map(|e| e.kind())
}

/// Limits that no test but those of the limits reaches.
fn generous() -> Limits {
    let most = u64::MAX;
    let (pause, countries) = (Duration::ZERO, Vec::new());
    Limits { pause, number_hour: most, number_day: most, address_hour: most, network_hour: most, countries }
}

/// An address in a network of its own for each number.
fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + (n << 8)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_nobody_signs_in() {
    let Some(mut server) = Server::start(&[]).await else { return };
    let world = World::on(&server, generous()).await;
    let (code, nonce) = world.asked().await;
    let bob = world.nodes[0].login.init(BOB, HERE).await.unwrap();
    let bob = world.verify(1, &world.code(), &bob).await.unwrap();
    server.kill();
    world.fails_closed(&code, &nonce).await;
    // Who is signed in stays so: sessions are not in Redis.
    let renewed = world.nodes[1].login.refresh(&bob.refresh_token).await.unwrap();
    let verified = world.jwt.verify(&renewed.token).unwrap();
    world.nodes[0].beep.gate().admit(&verified).await.unwrap();
    assert!(world.nodes[0].login.sign_out(&verified.identity).await.unwrap());
    assert!(world.nodes[0].beep.gate().admit(&verified).await.is_err());
    assert!(world.stores.directory.user_by_phone(ALICE).await.unwrap().is_none(), "nobody was made");
    server.restart().await;
    world.returns().await;
    // The code is gone with the rest.
    assert_eq!(kind(world.verify(0, &code, &nonce).await), Some(ErrorKind::NotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_hangs_nobody_signs_in() {
    let Some(server) = Server::start(&[]).await else { return };
    let world = World::on(&server, generous()).await;
    let (code, nonce) = world.asked().await;
    server.halt();
    world.fails_closed(&code, &nonce).await;
    server.go_on();
    world.returns().await;
    // None of those that failed spent it, and it is good once.
    world.verify(1, &code, &nonce).await.unwrap();
    assert_eq!(kind(world.verify(0, &code, &nonce).await), Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn an_emptied_redis_takes_no_code() {
    let Some(server) = Server::start(&[]).await else { return };
    let world = World::on(&server, generous()).await;
    let (used, used_nonce) = world.asked().await;
    world.verify(0, &used, &used_nonce).await.unwrap();
    let (guessed, guessed_nonce) = world.asked().await;
    for n in 0..TRIES as usize {
        world.verify(n % 2, "wrong", &guessed_nonce).await.unwrap_err();
    }
    let (fresh, fresh_nonce) = world.asked().await;
    server.told("FLUSHALL").await;
    for (code, nonce) in [(&used, &used_nonce), (&guessed, &guessed_nonce), (&fresh, &fresh_nonce)] {
        for node in 0..2 {
            assert_eq!(kind(world.verify(node, code, nonce).await), Some(ErrorKind::NotFound));
        }
    }
    for n in 0..1_000u32 {
        let guess = format!("{:06}", n * 997 % 1_000_000);
        let answer = world.nodes[0].login.verify(&guess, &fresh_nonce, device(), address(n)).await;
        assert_eq!(kind(answer), Some(ErrorKind::NotFound));
    }
    world.returns().await;
}

/// What a Redis that keeps snapshots still has of it is not believed.
#[tokio::test]
async fn a_spent_code_does_not_come_back_with_a_snapshot() {
    let Some(mut server) = Server::start(&["--save", "3600 1"]).await else { return };
    let world = World::on(&server, generous()).await;
    let (used, used_nonce) = world.asked().await;
    let (guessed, guessed_nonce) = world.asked().await;
    server.told("SAVE").await;
    world.verify(0, &used, &used_nonce).await.unwrap();
    for n in 0..TRIES as usize {
        world.verify(n % 2, "wrong", &guessed_nonce).await.unwrap_err();
    }
    server.kill();
    server.restart().await;
    world.returns().await;
    for (code, nonce) in [(&used, &used_nonce), (&guessed, &guessed_nonce)] {
        for node in 0..2 {
            assert_eq!(kind(world.verify(node, code, nonce).await), Some(ErrorKind::NotFound));
        }
    }
}

/// Each limit is one for both: so many in total, not each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_count_together() {
    let Some(server) = Server::start(&[]).await else { return };
    let limits = [
        (Limits { number_hour: 5, ..generous() }, 5),
        (Limits { number_day: 7, ..generous() }, 7),
        (Limits { address_hour: 6, ..generous() }, 6),
        (Limits { network_hour: 8, ..generous() }, 8),
        (Limits { pause: Duration::from_secs(60), ..generous() }, 1),
    ];
    for (limits, most) in limits {
        server.told("FLUSHALL").await;
        let shown = format!("{limits:?}");
        let world = World::on(&server, limits).await;
        let asking = (0..40).map(|n| {
            let node = world.nodes[n % 2].clone();
            tokio::spawn(async move { kind(node.login.init(ALICE, HERE).await) })
        });
        let mut got = 0;
        for asked in asking.collect::<Vec<_>>() {
            match asked.await.unwrap() {
                None => got += 1,
                other => assert_eq!(other, Some(ErrorKind::RateLimited)),
            }
        }
        assert_eq!((got, world.sent()), (most, most), "{shown}");
    }
}

#[tokio::test]
async fn tries_are_counted_over_both_servers() {
    let Some(server) = Server::start(&[]).await else { return };
    let world = World::on(&server, generous()).await;
    for (wrong_ones, signs_in) in [(TRIES - 1, true), (TRIES, false)] {
        let (code, nonce) = world.asked().await;
        for n in 0..wrong_ones as usize {
            world.verify(n % 2, "wrong", &nonce).await.unwrap_err();
        }
        assert_eq!(world.verify(1, &code, &nonce).await.is_ok(), signs_in, "after {wrong_ones}");
    }
}

/// A4 over two servers: a thousand who come at once with the right code: one gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_one_token_over_two_servers() {
    let Some(server) = Server::start(&[]).await else { return };
    let world = World::on(&server, generous()).await;
    for _ in 0..3 {
        let (code, nonce) = world.asked().await;
        let racers = (0..1_000).map(|n| {
            let (node, code, nonce) = (world.nodes[n % 2].clone(), code.clone(), nonce.clone());
            let from = address(n as u32);
            tokio::spawn(async move { node.login.verify(&code, &nonce, device(), from).await })
        });
        let mut tokens = 0;
        for racer in racers.collect::<Vec<_>>() {
            match kind(racer.await.unwrap()) {
                None => tokens += 1,
                other => assert_eq!(other, Some(ErrorKind::NotFound)),
            }
        }
        println!("goal=redis-single-use value={tokens} limit=1 racers=1000 nodes=2");
        assert_eq!(tokens, 1);
    }
}

/// Walking through the numbers of a country is no easier when Redis is away.
#[tokio::test]
async fn without_redis_nobody_looks_up_numbers() {
    let Some(mut server) = Server::start(&[]).await else { return };
    let world = World::on(&server, generous()).await;
    for (id, number) in [("u-alice", ALICE), ("u-bob", BOB)] {
        let (first_name, last_name) = ("A".to_owned(), "Test".to_owned());
        let id = id.parse().unwrap();
        let user = NewUser { id, username: None, first_name, last_name, phone_number: number.into() };
        world.stores.directory.create_user(user).await.unwrap();
    }
    let bob = "u-bob".parse().unwrap();
    let people = world.nodes[0].beep.people();
    people.user_by_phone(&bob, ALICE).await.unwrap();
    server.kill();
    assert_eq!(kind(people.user_by_phone(&bob, ALICE).await), Some(ErrorKind::Unavailable));
    assert_eq!(kind(people.add_contact(&bob, ALICE).await), Some(ErrorKind::Unavailable));
    assert!(people.contacts(&bob).await.unwrap().is_empty());
    // What needs no count goes on.
    people.user(&bob, &"u-alice".parse().unwrap()).await.unwrap();
}
