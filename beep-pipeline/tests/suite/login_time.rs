//! A6: whether a number is known cannot be told from how long signing in takes.

use async_trait::async_trait;
use beep_core::auth::SmsSender;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::clock::System;
use beep_core::store::NewUser;
use beep_core::{ErrorKind, Result};
use beep_pipeline::Beep;
use beep_pipeline::services::login::{Limits, Login, LoginOptions};
use beep_storage::StorageConfig;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pairs of calls, one by a known number and one by an unknown one.
const PAIRS: u32 = 3_000;
/// How far the medians may lie apart.
const LIMIT: f64 = 1.05;

/// Takes every message and looks at none.
#[derive(Debug)]
struct Post;

#[async_trait]
impl SmsSender for Post {
    async fn send(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

fn known(n: u32) -> String {
    format!("+659{:07}", 2 * n)
}

fn unknown(n: u32) -> String {
    format!("+659{:07}", 2 * n + 1)
}

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

/// The larger median over the smaller one.
fn ratio(mut a: Vec<Duration>, mut b: Vec<Duration>) -> f64 {
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    let (a, b) = (median(&mut a), median(&mut b));
    a.max(b) / a.min(b)
}

/// Asking for a code, and a wrong code, by numbers that have an account and by numbers that have none, in turns over the
/// embedded stores: the medians are the same within 5 %.
#[tokio::test]
async fn a6_known_and_unknown_numbers_take_the_same_time() {
    // In memory where there is such a folder: the disk's moods are not what is measured.
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
    let stores = beep_storage::open(&StorageConfig::embedded(dir.path()), Arc::new(System)).await.unwrap();
    for n in 0..PAIRS {
        let user = NewUser {
            id: format!("u-{n}").parse().unwrap(),
            username: None,
            first_name: "Known".into(),
            last_name: "Test".into(),
            phone_number: known(n),
        };
        stores.directory.create_user(user).await.unwrap();
    }
    let beep = Beep::builder(stores).start().await.unwrap();
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let jwt = Jwt::new(vec![key], JwtConfig::default(), Arc::new(System), Arc::new(System)).unwrap();
    let limits = Limits { address_hour: u64::MAX, network_hour: u64::MAX, ..Limits::default() };
    let options = LoginOptions { limits, ..LoginOptions::default() };
    let login = Login::new(beep.clone(), Arc::new(jwt), Some(Arc::new(Post)), Arc::new(System), options);

    let (mut init, mut verify) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for n in 0..PAIRS {
        // Each goes first every other time.
        for which in if n % 2 == 0 { [0, 1] } else { [1, 0] } {
            let number = if which == 0 { known(n) } else { unknown(n) };
            let begun = Instant::now();
            let nonce = login.init(&number, address(n)).await.unwrap();
            init[which].push(begun.elapsed());
            let begun = Instant::now();
            let answer = login.verify("no code", &nonce, "phone".parse().unwrap(), address(n)).await;
            verify[which].push(begun.elapsed());
            assert_eq!(answer.err().map(|e| e.kind()), Some(ErrorKind::NotFound));
        }
    }
    beep.shutdown().await;
    for (what, [a, b]) in [("init", init), ("verify", verify)] {
        let value = ratio(a, b);
        println!("goal=A6 value={value:.3} limit={LIMIT} of={what} pairs={PAIRS}");
        assert!(value <= LIMIT, "{what} tells known numbers from unknown ones: {value:.3}");
    }
}
