//! Remembers which tokens were found good, so that the next request with one costs no signature check.

use super::claims::Checked;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;
/// Tokens per shard and generation: 16,384 in all, about 16 MB of RS256 tokens when full.
const PER_GENERATION: usize = 512;

/// Tokens that were good, by their whole text.
///
/// * Holds only tokens whose signature was checked here, so nobody can fill it with what is not signed.
/// * Bounded: a full young generation becomes the old one, and the old one is dropped. What is asked for in between
///   moves back to the young one, so tokens in use stay.
/// * Says nothing about time or revocation: the caller asks [`Checked::holds_at`] on every hit.
pub(super) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    young: HashMap<Box<str>, Checked>,
    old: HashMap<Box<str>, Checked>,
}

impl Cache {
    pub fn new() -> Self {
        Self { shards: Default::default(), hasher: RandomState::new() }
    }

    pub fn get(&self, token: &str) -> Option<Checked> {
        let mut shard = self.shard(token);
        if let Some(checked) = shard.young.get(token) {
            return Some(checked.clone());
        }
        let (token, checked) = shard.old.remove_entry(token)?;
        shard.insert(token, checked.clone());
        Some(checked)
    }

    pub fn insert(&self, token: &str, checked: Checked) {
        self.shard(token).insert(token.into(), checked);
    }

    fn shard(&self, token: &str) -> MutexGuard<'_, Shard> {
        // The signature ends the token and is as good as random: its last bytes spread tokens over the shards.
        let end = token.as_bytes().last_chunk::<16>();
        let shard = &self.shards[self.hasher.hash_one(end) as usize % SHARDS];
        // Every change to a shard is a single call on a map, so a panic elsewhere leaves a usable one behind.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn insert(&mut self, token: Box<str>, checked: Checked) {
        if self.young.len() >= PER_GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, checked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::jwt::JwtConfig;
    use crate::auth::jwt::claims::Claims;

    fn checked(config: &JwtConfig, jti: usize) -> Checked {
        let claims = serde_json::json!({
            "userid": "u-1", "clientid": "d", "sub": "u-1", "iss": config.issuer, "aud": config.audience,
            "iat": 0, "exp": 1, "jti": jti.to_string(),
        });
        let claims = claims.to_string();
        serde_json::from_str::<Claims<'_>>(&claims).unwrap().check(config).unwrap()
    }

    #[test]
    fn stays_bounded_and_keeps_what_is_used() {
        let (cache, config) = (Cache::new(), JwtConfig::default());
        let token = |n: usize| format!("some header and payload.signature {n:>20}");
        let most = SHARDS * 2 * PER_GENERATION;
        for n in 0..3 * most {
            cache.insert(&token(n), checked(&config, n));
            let used = cache.get(&token(0)).expect("asked for all the time");
            assert_eq!(used.verified.token_id, "0");
        }
        let kept = (0..3 * most).filter(|n| cache.get(&token(*n)).is_some()).count();
        assert!(kept <= most, "{kept} of at most {most}");
        let held: usize =
            cache.shards.iter().map(|s| s.lock().unwrap()).map(|s| s.young.len() + s.old.len()).sum();
        assert!((most / 4..=most).contains(&held), "{held} of at most {most}");
        assert!(cache.shards.iter().all(|s| !s.lock().unwrap().young.is_empty()), "every shard is in use");
    }

    #[test]
    fn tokens_that_end_alike_are_kept_apart() {
        let (cache, config) = (Cache::new(), JwtConfig::default());
        let token = |n: usize| format!("{n}.the same end of a signature");
        (0..100).for_each(|n| cache.insert(&token(n), checked(&config, n)));
        for n in 0..100 {
            assert_eq!(cache.get(&token(n)).unwrap().verified.token_id, n.to_string());
        }
        assert!(cache.get(&token(100)).is_none());
        assert!(cache.get("").is_none() && cache.get("the same end of a signature").is_none());
    }
}
