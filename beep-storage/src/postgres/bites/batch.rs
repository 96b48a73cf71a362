//! What one commit takes: items that queued, sorted into waves, as the arrays that `bite_write` wants.

use super::rows;
use beep_core::bite::{BiteKey, Label};
use beep_core::clock::Millis;
use beep_core::event::{Event, LogEntry};
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::store::{NewBite, Start};
use beep_core::{Error, ErrorKind, Result};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use std::collections::HashMap;
use tokio::sync::oneshot;

/// How long a name of a put is remembered.
const DAY: Millis = 24 * 60 * 60 * 1_000;

/// What a caller wants written.
#[derive(Debug)]
pub(super) enum Work {
    /// A record, the sum of its bytes, and the name under which they are in the object store, if they are.
    Put { new: Box<NewBite>, sum: i64, object: Option<String> },
    /// Takes a bite away.
    Delete { key: BiteKey, at: Millis },
    /// Sets a bite aside.
    Park { key: BiteKey, reason: String, at: Millis },
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    /// Where the record stands.
    pub(super) key: BiteKey,
    /// None where nothing was written.
    pub(super) entry: Option<LogEntry>,
    /// Names in the object store that nothing leads to any more.
    pub(super) objects: Vec<String>,
}

/// A caller who waits.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    /// Which wave of its batch it belongs to, from 1.
    pub(super) wave: i32,
    pub(super) answer: oneshot::Sender<Result<Done>>,
}

impl Work {
    /// About how much memory and log it takes.
    pub(super) fn bytes(&self) -> usize {
        512 + match self {
            Self::Put { new, object: None, .. } => new.body.len(),
            Self::Put { .. } | Self::Delete { .. } => 0,
            Self::Park { reason, .. } => reason.len(),
        }
    }

    fn record(&self) -> Option<&NewBite> {
        if let Self::Put { new, .. } = self { Some(new) } else { None }
    }

    fn object(&self) -> Option<&str> {
        if let Self::Put { object, .. } = self { object.as_deref() } else { None }
    }

    fn place(&self) -> (&ConversationId, Option<Millis>) {
        match self {
            Self::Put { new, .. } => match new.start {
                Start::At(start) => (&new.conversation, Some(start)),
                Start::Next(_) => (&new.conversation, None),
            },
            Self::Delete { key, .. } | Self::Park { key, .. } => (&key.conversation, Some(key.start)),
        }
    }

    fn label(&self) -> Label {
        if let Self::Put { new, .. } = self { new.label } else { Label::Bite }
    }

    /// The event that a log entry of this tells.
    pub(super) fn event(&self, key: BiteKey, author: Identity) -> Event {
        match self {
            Self::Put { .. } => Event::Stored { key, author },
            Self::Delete { .. } => Event::Deleted { key, author },
            Self::Park { reason, .. } => Event::Failed { key, author, reason: reason.clone() },
        }
    }

    fn at(&self) -> Millis {
        match self {
            Self::Put { new, .. } => new.received,
            Self::Delete { at, .. } | Self::Park { at, .. } => *at,
        }
    }

    /// Why `bite_write` refused it, by its number.
    fn refusal(&self, outcome: i32, key: Option<&BiteKey>) -> Error {
        let place = key.map_or_else(|| "this place".to_owned(), ToString::to_string);
        match outcome {
            2 => Error::new(ErrorKind::Conflict, format!("another record stands at {place} already")),
            3 => {
                let sentence = "this idempotency key was used for other bytes: use a new one";
                Error::new(ErrorKind::Conflict, sentence)
            }
            4 => Error::new(ErrorKind::NotFound, format!("no bite stands beside {place}")),
            5 => Error::new(ErrorKind::Conflict, "every start from there on is taken"),
            n => Error::new(
                ErrorKind::Internal,
                format!("the database answered {n}, which means nothing here"),
            ),
        }
    }
}

/// Finds each item's wave: the first in which nothing else that it could meet stands.
#[derive(Default)]
pub(super) struct Waves {
    conversations: HashMap<ConversationId, Met>,
    names: HashMap<[u8; 32], i32>,
    last: i32,
}

#[derive(Default)]
struct Met {
    /// The last wave that looks for a free start, and the last of all.
    free: i32,
    any: i32,
    places: HashMap<Millis, i32>,
}

impl Waves {
    /// The wave of this work, which must not be longer than `most` waves away; none where it is.
    pub(super) fn add(&mut self, work: &Work, most: i32) -> Option<i32> {
        let (conversation, start) = work.place();
        let name = if let Work::Put { new, .. } = work { new.idempotency.map(|n| n.0) } else { None };
        let met = self.conversations.get(conversation);
        let before = met.map_or(0, |met| match start {
            Some(start) => met.places.get(&start).copied().unwrap_or(0).max(met.free),
            None => met.any,
        });
        let named = name.and_then(|name| self.names.get(&name).copied()).unwrap_or(0);
        let wave = before.max(named) + 1;
        if wave > most {
            return None;
        }
        let met = self.conversations.entry(conversation.clone()).or_default();
        met.any = met.any.max(wave);
        match start {
            Some(start) => drop(met.places.insert(start, wave)),
            None => met.free = wave,
        }
        if let Some(name) = name {
            self.names.insert(name, wave);
        }
        self.last = self.last.max(wave);
        Some(wave)
    }
}

/// Which batch of which writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchId {
    pub(super) writer: i64,
    pub(super) batch: i64,
}

const WRITE: &str = "SELECT * FROM bite_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
                     $17, $18, $19, $20, $21, $22, $23, $24)";

/// Writes these in one commit. Each item's place in the batch is its place in `jobs`, from 1.
pub(super) async fn write(
    connection: &mut PgConnection,
    id: BatchId,
    jobs: &[Job],
    cursors: &[(String, u64)],
) -> sqlx::Result<Vec<PgRow>> {
    let each = || jobs.iter().map(|job| &job.work);
    let puts = || each().map(Work::record);
    let sum = |work| if let &Work::Put { sum, .. } = work { sum } else { 0 };
    let kinds = each().map(|work| match work {
        Work::Put { new, .. } => {
            if matches!(new.start, Start::At(_)) {
                1
            } else {
                2
            }
        }
        Work::Delete { .. } => 3,
        Work::Park { .. } => 4i16,
    });
    let starts = each().map(|work| match work {
        Work::Put { new, .. } => match new.start {
            Start::At(start) | Start::Next(start) => start,
        },
        Work::Delete { key, .. } | Work::Park { key, .. } => key.start,
    });
    let texts = each().map(|work| match work {
        Work::Put { new, .. } => Some(&*new.media_type),
        Work::Delete { .. } => None,
        Work::Park { reason, .. } => Some(&**reason),
    });
    let bodies = each().map(|work| match work {
        Work::Put { new, object: None, .. } => Some(&new.body[..]),
        _ => None,
    });
    let seals = each().map(|work| match work {
        Work::Put { new, sum, object } => rows::seal_of(new, *sum, object.as_deref()),
        _ => 0,
    });
    sqlx::query(WRITE)
        .bind(id.writer)
        .bind(id.batch)
        .bind(jobs.iter().map(|job| job.wave).max().unwrap_or(0))
        .bind(jobs.iter().map(|job| job.wave).collect::<Vec<_>>())
        .bind(kinds.collect::<Vec<_>>())
        .bind(each().map(|work| work.label() as i16).collect::<Vec<_>>())
        .bind(each().map(|work| work.place().0.as_str()).collect::<Vec<_>>())
        .bind(starts.map(rows::signed).collect::<Vec<_>>())
        .bind(puts().map(|new| new.map(|new| new.author.user.as_str())).collect::<Vec<_>>())
        .bind(puts().map(|new| new.map(|new| new.author.device.as_str())).collect::<Vec<_>>())
        .bind(texts.collect::<Vec<_>>())
        .bind(puts().map(|new| new?.duration_ms.map(|n| n as i64)).collect::<Vec<_>>())
        .bind(puts().map(|new| new.map_or(0, |new| new.body.len() as i64)).collect::<Vec<_>>())
        .bind(puts().map(|new| new.map(|new| &new.sha256.0[..])).collect::<Vec<_>>())
        .bind(each().map(sum).collect::<Vec<_>>())
        .bind(seals.collect::<Vec<_>>())
        .bind(each().map(|work| rows::signed(work.at())).collect::<Vec<_>>())
        .bind(puts().map(|new| Some(&new?.idempotency.as_ref()?.0[..])).collect::<Vec<_>>())
        .bind(each().map(|work| rows::signed(work.at().saturating_sub(DAY - 1))).collect::<Vec<_>>())
        .bind(each().map(|work| rows::signed(work.at().saturating_add(DAY - 1))).collect::<Vec<_>>())
        .bind(bodies.collect::<Vec<_>>())
        .bind(each().map(Work::object).collect::<Vec<_>>())
        .bind(cursors.iter().map(|(group, _)| &**group).collect::<Vec<_>>())
        .bind(cursors.iter().map(|(_, seq)| *seq as i64).collect::<Vec<_>>())
        .fetch_all(connection)
        .await
}

/// Which item a row of `bite_write` answers, from 0, and what came of it.
pub(super) fn outcome(row: &PgRow, jobs: &[Job]) -> sqlx::Result<(usize, Result<Done>)> {
    let item = row.try_get::<i32, _>(0)?.wrapping_sub(1) as usize;
    let work = &jobs.get(item).ok_or_else(|| sqlx::Error::Protocol(format!("there is no item {item}")))?.work;
    let outcome: i32 = row.try_get(1)?;
    let key = row.try_get::<Option<i64>, _>(4)?.map(|start| {
        let conversation = ConversationId::parse(row.try_get(3).unwrap_or_default())?;
        Ok(BiteKey::new(
            rows::label(row.try_get(2).unwrap_or_default())?,
            conversation,
            rows::unsigned(start),
        ))
    });
    let key = match key {
        Some(Err(e)) => return Ok((item, Err(e))),
        Some(Ok(key)) => key,
        None => return Ok((item, Err(work.refusal(outcome, None)))),
    };
    if outcome > 1 {
        return Ok((item, Err(work.refusal(outcome, Some(&key)))));
    }
    let objects: Option<Vec<String>> = row.try_get(8)?;
    let mut objects = objects.unwrap_or_default();
    let seq: Option<i64> = row.try_get(7)?;
    let entry = match seq {
        Some(seq) => match author(row) {
            Ok(author) => {
                Some(LogEntry { seq: seq as u64, at: work.at(), event: work.event(key.clone(), author) })
            }
            Err(e) => return Ok((item, Err(e))),
        },
        None => {
            if let Work::Put { object, .. } = work {
                objects.extend(object.clone()); // the record that stands there has bytes of its own
            }
            None
        }
    };
    Ok((item, Ok(Done { key, entry, objects })))
}

fn author(row: &PgRow) -> Result<Identity> {
    let text = |at| row.try_get::<&str, _>(at).unwrap_or_default();
    Ok(Identity { user: UserId::parse(text(5))?, device: DeviceId::parse(text(6))? })
}

const WRITTEN: &str = "SELECT seq, at, kind, label, conversation, start, author, device, reason, item FROM bite_log \
                       WHERE seq > $1 AND writer = $2 AND batch = $3";

/// Makes sure that this batch is over, and answers which of its items it wrote, from 0. `behind` is the position of an
/// entry from before it.
pub(super) async fn written(
    connection: &mut PgConnection,
    id: BatchId,
    behind: i64,
) -> sqlx::Result<Vec<(usize, Result<Done>)>> {
    sqlx::query("SELECT bite_fence($1, $2)").bind(id.writer).bind(id.batch).execute(&mut *connection).await?;
    let found =
        sqlx::query(WRITTEN).bind(behind).bind(id.writer).bind(id.batch).fetch_all(connection).await?;
    let each = found.iter().map(|row| {
        let item = row.try_get::<i32, _>(9)?.wrapping_sub(1) as usize;
        let done = |entry: LogEntry| Done {
            key: entry.event.key().clone(),
            entry: Some(entry),
            objects: Vec::new(), // those of a delete are left to the sweeper
        };
        Ok((item, rows::entry(row).map(done)))
    });
    each.collect()
}
