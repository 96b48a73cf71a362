//! The connection to a server: made when it is needed, given up when it fails, and never waited for long.

use super::place::Place;
use beep_core::{ErrorKind, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

/// How long a call may take, connecting included; callers are promised 2 s.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// A server that calls are sent to.
///
/// Nothing is sent twice: what a lost connection was asked for may have been done, and done again a code would be gone
/// and a counter wrong.
pub(super) struct Link {
    place: Place,
    live: Mutex<Option<Live>>,
}

/// A connection to one run of a server.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    /// What keys begin with on this connection: the prefix, and which run of the server it is.
    pub(super) prefix: Arc<str>,
    ended: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(place: Place) -> Self {
        Self { place, live: Mutex::new(None) }
    }

    /// Does these steps on a connection, or fails in time. A connection that failed is not used again.
    pub(super) async fn run<T, F>(&self, steps: impl FnOnce(Live) -> F) -> Result<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let live = timeout_at(deadline, self.live()).await.map_err(|_| self.place.late())??;
        let ended = live.ended.clone();
        let answer = match timeout_at(deadline, steps(live)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(e)) => self.place.failed(&e),
            Err(_) => self.place.late(),
        };
        if answer.kind() == ErrorKind::Unavailable {
            ended.store(true, Ordering::Release);
        }
        Err(answer)
    }

    /// The connection that all calls share. While one makes it, the others wait for it.
    async fn live(&self) -> Result<Live> {
        let mut shared = self.live.lock().await;
        if let Some(live) = shared.as_ref().filter(|live| !live.ended.load(Ordering::Acquire)) {
            return Ok(live.clone());
        }
        *shared = None;
        Ok(shared.insert(self.connect().await?).clone())
    }

    async fn connect(&self) -> Result<Live> {
        let ended = Arc::new(AtomicBool::new(false));
        let told = ended.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| -> Result<(), redis::aio::SendError> {
                if push.kind == PushKind::Disconnection {
                    told.store(true, Ordering::Release);
                }
                Ok(())
            });
        let refused = |e| self.place.refused(&e);
        let connected = self.place.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.map_err(refused)?;
        let info = redis::cmd("INFO").query_async(&mut connection).await;
        let info: String = info.map_err(refused)?;
        let run = self.suits(&info)?;
        Ok(Live { connection, prefix: format!("{}{run}:", self.place.prefix).into(), ended })
    }

    /// Whether a server that says this of itself may hold the values; the name of its run.
    fn suits<'a>(&self, info: &'a str) -> Result<&'a str> {
        let said = |name| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
        };
        let policy = said("maxmemory_policy").unwrap_or("noeviction");
        if said("maxmemory") != Some("0") && policy != "noeviction" {
            let message = "Redis evicts values to make room, so that a count of tries might vanish before its code: set \
                           `maxmemory-policy noeviction`, or give Beep a server of its own";
            return Err(self.place.unusable(message));
        }
        said("run_id")
            .and_then(|run| run.get(..16))
            .ok_or_else(|| self.place.unusable("this server does not say what Redis says of itself (`INFO`)"))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("redis", &self.place.shown).finish_non_exhaustive()
    }
}
