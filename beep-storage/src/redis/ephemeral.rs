//! [`Ephemeral`] in Redis. A counter is a value that reads as decimal digits.

use super::link::{Link, Live};
use super::place::Place;
use async_trait::async_trait;
use beep_core::store::{Capability, Ephemeral};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use redis::{Cmd, FromRedisValue, RedisResult, Script, ServerErrorKind};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The longest life, in milliseconds: longer than anybody waits, and exact in the numbers of scripts.
const LONGEST: u128 = 1 << 52;
/// How many keys Redis looks at before it lets others in.
const PAGE: usize = 1_000;

/// Counts one more, or answers nothing where something else stands. INCR leaves the end date as it is.
const COUNT: &str = "
local value = redis.call('GET', KEYS[1])
if not value then
    if tonumber(ARGV[1]) > 0 then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
    return 1
end
if not string.find(value, '^%d+$') then return false end
local count = redis.pcall('INCR', KEYS[1])
if type(count) == 'number' then return count end
return false
";

/// Short-lived values in Redis.
///
/// * A call answers or fails within 2 seconds, with [`ErrorKind::Unavailable`] when Redis is away or hangs. What failed
///   so may have been done, or be done when Redis goes on: a code may be spent that nobody was signed in with, a count
///   too high. It is never the other way round.
/// * Connections come back by themselves. After a restart, a failover or `FLUSHALL` every value is gone, whatever a
///   snapshot or replica still holds.
/// * A counter ends at 2⁶³ − 1, and a value with leading zeros is none: both are [`ErrorKind::Conflict`].
/// * Its clock is that of Redis.
pub struct RedisEphemeral {
    link: Link,
    count: Script,
}

impl RedisEphemeral {
    /// Values in the database of `redis://[user:password@]host:port/database?prefix=beep:`; `rediss:` for TLS, with the
    /// certificates that this machine trusts. All keys begin with the prefix, so several installations can share a
    /// database when each has its own; `beep:` unless it is given.
    ///
    /// A server that is away is a warning: calls fail until it is there.
    /// [`ErrorKind::Malformed`] for what is no such URL, [`ErrorKind::Unavailable`] for a server that refuses user,
    /// password or database, is part of a cluster, or evicts values.
    pub async fn open(url: &str) -> Result<Self> {
        let store = Self { link: Link::new(Place::parse(url)?), count: Script::new(COUNT) };
        match store.link.run(|_| async { Ok(()) }).await {
            Err(e) if e.is_temporary() => {
                tracing::warn!(error = %e, "Redis is away: codes, limits and presence fail until it is there");
                Ok(store)
            }
            opened => opened.map(|()| store),
        }
    }

    /// One command on one key, which is a whole call.
    async fn ask<T: FromRedisValue>(&self, key: &str, command: impl FnOnce(&str) -> Cmd + Send) -> Result<T> {
        let key = checked(key)?;
        self.link
            .run(|mut live: Live| async move {
                command(&format!("{}{key}", live.prefix)).query_async(&mut live.connection).await
            })
            .await
    }
}

#[async_trait]
impl Ephemeral for RedisEphemeral {
    fn capability(&self) -> Capability {
        Capability::networked(false)
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        self.ask(key, |key| match millis(ttl) {
            0 => one("DEL", key),
            millis => set(key, &value, millis),
        })
        .await
    }

    async fn put_new(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        if millis(ttl) == 0 {
            return Ok(!self.ask::<bool>(key, |key| one("EXISTS", key)).await?);
        }
        self.ask(key, |key| set(key, &value, millis(ttl)).arg("NX").take()).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.ask::<Option<Vec<u8>>>(key, |key| one("GET", key)).await?.map(Bytes::from))
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.ask::<Option<Vec<u8>>>(key, |key| one("GETDEL", key)).await?.map(Bytes::from))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        self.ask(key, |key| one("DEL", key)).await
    }

    async fn count(&self, key: &str, ttl: Duration) -> Result<u64> {
        let (key, script) = (checked(key)?, &self.count);
        let run = |mut live: Live| async move {
            let key = format!("{}{key}", live.prefix);
            let invoked = |how, what| redis::cmd(how).arg(what).arg(1).arg(&key).arg(millis(ttl)).take();
            let connection = &mut live.connection;
            match invoked("EVALSHA", script.get_hash()).query_async(connection).await {
                // A server that does not know it yet did nothing; this tells it, too.
                Err(e) if e.kind() == ServerErrorKind::NoScript.into() => {
                    invoked("EVAL", COUNT).query_async(connection).await
                }
                counted => counted,
            }
        };
        self.link
            .run::<Option<u64>, _>(run)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::Conflict, "a value stands there, no counter"))
    }

    async fn keys(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.link.run(|live| found(live, prefix, limit)).await
    }
}

/// Looks at every key of the database, without stopping others. What ends meanwhile is left out.
async fn found(mut live: Live, prefix: &str, limit: usize) -> RedisResult<Vec<String>> {
    let connection = &mut live.connection;
    let pattern = format!("{}*", escaped(&format!("{}{prefix}", live.prefix)));
    let (mut found, mut cursor) = (BTreeSet::new(), 0u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
        let page: (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        for key in page.1 {
            // Keys that are no text are not ours.
            found.extend(String::from_utf8(key));
            if found.len() > limit {
                found.pop_last();
            }
        }
        cursor = page.0;
        if cursor == 0 {
            break;
        }
    }
    let mut there = redis::pipe();
    for key in &found {
        there.exists(key);
    }
    let there: Vec<bool> = if found.is_empty() { Vec::new() } else { there.query_async(connection).await? };
    let kept = found.into_iter().zip(there).filter(|(_, there)| *there);
    Ok(kept.filter_map(|(key, _)| key.strip_prefix(&*live.prefix).map(str::to_owned)).collect())
}

fn one(command: &str, key: &str) -> Cmd {
    redis::cmd(command).arg(key).take()
}

fn set(key: &str, value: &[u8], millis: u64) -> Cmd {
    redis::cmd("SET").arg(key).arg(value).arg("PX").arg(millis).take()
}

/// Whole milliseconds, as every store counts them: less than one is none.
fn millis(ttl: Duration) -> u64 {
    ttl.as_millis().min(LONGEST) as u64
}

/// A pattern that matches this text and nothing else.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

fn checked(key: &str) -> Result<&str> {
    if (1..=256).contains(&key.len()) {
        return Ok(key);
    }
    Err(Error::new(ErrorKind::Malformed, "the key of a short-lived value must be 1 to 256 bytes long"))
}

impl fmt::Debug for RedisEphemeral {
    // Values may be secrets, and the URL holds one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisEphemeral").field("link", &self.link).finish_non_exhaustive()
    }
}
