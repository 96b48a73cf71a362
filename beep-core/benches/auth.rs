//! What a token check costs: remembered, and against bare jsonwebtoken. Prints one `goal=` line each; fails when off.

use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::auth::{Authenticator, Scope, TokenIssuer};
use beep_core::clock::System;
use beep_core::id::Identity;
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde_json::Value;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 15;
/// Distinct tokens per round: none of them may be remembered when it is first shown.
const TOKENS: usize = 300;

fn main() -> ExitCode {
    let mut off = false;
    let mut goal = |id: &str, value: f64, limit: f64| {
        println!("goal={id} value={value:.3} limit={limit}");
        off |= value > limit;
    };
    for algorithm in Algorithm::ALL {
        let (cached, ours, bare) = measure(algorithm).expect("keys and tokens of our own");
        println!(
            "{algorithm}: cached {cached:.3} us, ours {ours:.2} us, bare jsonwebtoken {bare:.2} us (medians)"
        );
        if algorithm == Algorithm::default() {
            goal("verify-cached-us", cached, 5.0);
            goal("verify-vs-bare", ours / bare, 1.3);
        }
    }
    ExitCode::from(u8::from(off))
}

/// Microseconds per token: remembered, first shown, and by jsonwebtoken with the same rules.
fn measure(algorithm: Algorithm) -> Result<(f64, f64, f64), Box<dyn std::error::Error>> {
    let key = SigningKey::generate(algorithm)?;
    let make = || Jwt::new(vec![key.clone()], JwtConfig::default(), Arc::new(System), Arc::new(System));
    let issuer = make()?;
    let who = Identity { user: "u-0123456789abcdef0123456789abcdef".parse()?, device: "phone".parse()? };
    let tokens = (0..TOKENS).map(|_| issuer.issue(&who, Scope::User)).collect::<Result<Vec<_>, _>>()?;

    let theirs = DecodingKey::from_jwk(&serde_json::from_value(key.jwk())?)?;
    let mut rules = Validation::new(algorithm.as_str().parse()?);
    rules.set_audience(&["beep"]);
    rules.set_issuer(&["beep"]);
    rules.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);

    let (mut cached, mut ours, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let fresh = make()?;
        ours.push(round(&tokens, |token| drop(black_box(fresh.verify(token).expect("good")))));
        bare.push(round(&tokens, |token| {
            drop(black_box(decode::<Value>(token, &theirs, &rules).expect("good")))
        }));
        cached.push(round(&tokens, |token| drop(black_box(fresh.verify(token).expect("good")))));
    }
    Ok((median(cached), median(ours), median(bare)))
}

fn round(tokens: &[String], check: impl Fn(&str)) -> f64 {
    let begin = Instant::now();
    tokens.iter().for_each(|token| check(token));
    begin.elapsed().as_secs_f64() * 1e6 / tokens.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
