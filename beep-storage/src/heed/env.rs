//! The LMDB environment of a folder: opened once per process, shared by every store in it.
//!
//! The map is reserved once at its full size (1 TiB by default: address space, not disk) instead of grown while open.
//! Growing means `munmap` under every reader of this process and a resize handshake with every other one; a
//! reservation costs nothing, and `max_bytes` then is what operators expect of it: a quota.
//!
//! Flags are LMDB's defaults: two syncs per commit, no `WRITEMAP` (a full disk would be SIGBUS), no `NOSYNC`.

use super::fault::{self, Abort};
use super::writer::{Limits, Writer};
use beep_core::{Error, ErrorKind, Result};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, EnvOpenOptions, RoTxn, WithTls, env_closing_event};
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The version of everything below `notes`; another one is not opened.
const FORMAT: u8 = 2;
/// Slots for concurrent readers of all processes; each thread that reads holds one.
const MAX_READERS: u32 = 2_048;
/// How far past its end a damaged page can make LMDB look: the file reaches that far, so it finds zeros, not SIGBUS.
const SPARE_PAGES: u64 = 64;

pub(super) type Db = Database<'static, Bytes, Bytes>;

/// How to open an environment. What the first opener of a process says holds until the last handle is dropped.
#[derive(Clone, Debug)]
pub struct HeedOptions {
    /// The most bytes that the data file may have. Every process should say the same. Default 1 TiB (1 GiB where
    /// addresses have 32 bits).
    pub max_bytes: u64,
    /// How many writes may wait before new ones are refused as [`ErrorKind::Unavailable`].
    pub max_waiting: usize,
    /// How many bytes may wait in them.
    pub max_waiting_bytes: usize,
}

impl Default for HeedOptions {
    fn default() -> Self {
        let max_bytes = if cfg!(target_pointer_width = "64") { 1 << 40 } else { 1 << 30 };
        Self { max_bytes, max_waiting: 4_096, max_waiting_bytes: 256 << 20 }
    }
}

/// An open environment; clones share it. Dropping the last handle finishes the writes that wait and closes it.
#[derive(Clone)]
pub struct HeedEnv {
    inner: Arc<Inner>,
}

struct Inner {
    // Dropped first: it ends the writer thread, which holds a clone of `env`.
    writer: Writer,
    env: heed::Env<WithTls>,
    dbs: Dbs,
}

/// The databases of an environment.
#[derive(Clone, Copy)]
pub(super) struct Dbs {
    /// Key of a record → record.
    pub(super) bites: Db,
    /// Number, big-endian → log entry.
    pub(super) log: Db,
    /// Worker group → how far it came.
    pub(super) cursors: Db,
    /// Day of arrival · idempotency name → what the first put under it did.
    pub(super) puts: Db,
    /// Key of a bite → why it was set aside.
    pub(super) parked: Db,
    /// Name → blob.
    pub(super) blobs: Db,
    /// Owner · 0 · name of a blob → nothing.
    pub(super) owners: Db,
    /// Key → short-lived value.
    pub(super) values: Db,
    /// End date, big-endian · key of a short-lived value → nothing.
    pub(super) ends: Db,
    /// The format, and scratch room.
    pub(super) notes: Db,
}

static OPEN: Mutex<Option<HashMap<PathBuf, Weak<Inner>>>> = Mutex::new(None);

impl HeedEnv {
    /// Opens the environment in this folder with the defaults, or makes both. See [`HeedEnv::open_with`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir, HeedOptions::default())
    }

    /// Opens the environment in this folder, or makes both. Blocks.
    ///
    /// * Opened again in the same process, the same environment answers.
    /// * Other processes may open it at the same time, and write.
    /// * What readers that died left behind is cleared.
    ///
    /// [`ErrorKind::Corrupt`] when the file is no LMDB file, [`ErrorKind::Unsupported`] when another version wrote it,
    /// [`ErrorKind::Full`] when there is no room to make it.
    pub fn open_with(dir: impl AsRef<Path>, options: HeedOptions) -> Result<Self> {
        let dir = make_dir(dir.as_ref())?;
        // Held throughout, so that two threads cannot open the same folder at once.
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        open.retain(|_, env| env.strong_count() > 0);
        if let Some(inner) = open.get(&dir).and_then(Weak::upgrade) {
            return Ok(Self { inner });
        }
        // The last handle may be closing on another thread right now.
        while let Some(closing) = env_closing_event(&dir) {
            closing.wait();
        }
        let inner = Arc::new(Inner::open(&dir, &options)?);
        open.insert(dir, Arc::downgrade(&inner));
        Ok(Self { inner })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.inner.env.path()
    }

    /// Writes a consistent copy of the data file to `file`, while others read and write. Blocks.
    pub fn copy_to(&self, file: impl AsRef<Path>) -> Result<()> {
        let copied = self.inner.env.copy_to_path(file.as_ref(), heed::CompactionOption::Disabled);
        let file = copied.map_err(fault::error)?;
        file.sync_all().map_err(|e| Error::internal("syncing the copy", e))
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.inner.writer
    }

    /// Reads one consistent state. Waits for no writer. `each` must not call this again on its thread.
    pub(super) fn read<T>(&self, each: impl FnOnce(&Dbs, &RoTxn<'_>) -> Result<T>) -> Result<T> {
        let txn = self.inner.env.read_txn().map_err(fault::error)?;
        each(&self.inner.dbs, &txn)
    }

    /// As [`HeedEnv::read`], on a thread that may block for long.
    pub(super) async fn read_long<T: Send + 'static>(
        &self,
        each: impl FnOnce(&Dbs, &RoTxn<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let env = self.clone();
        let done = tokio::task::spawn_blocking(move || env.read(each)).await;
        done.map_err(|e| Error::internal("a long read", e))?
    }
}

impl fmt::Debug for HeedEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeedEnv").field(&self.dir()).finish()
    }
}

impl Inner {
    fn open(dir: &Path, options: &HeedOptions) -> Result<Self> {
        let env = match open_lmdb(dir, options.max_bytes) {
            Err(heed::Error::Mdb(heed::MdbError::Invalid)) if start_over(dir) => {
                open_lmdb(dir, options.max_bytes)
            }
            opened => opened,
        };
        let env = env.map_err(|e| fault::error(e).with("folder", dir.display()))?;
        env.clear_stale_readers().map_err(fault::error)?;
        let dbs = open_databases(&env).map_err(|e| e.with("folder", dir.display()))?;
        let limits = Limits { requests: options.max_waiting, bytes: options.max_waiting_bytes };
        let writer = Writer::start(env.clone(), dbs, limits)?;
        Ok(Self { writer, env, dbs })
    }
}

#[allow(unsafe_code)]
fn open_lmdb(dir: &Path, max_bytes: u64) -> heed::Result<heed::Env<WithTls>> {
    let mut options = EnvOpenOptions::new();
    let unit = 64 * 4_096;
    let most = isize::MAX as usize / unit * unit;
    let map = usize::try_from(max_bytes).unwrap_or(most).clamp(unit, most).next_multiple_of(unit);
    options.map_size(map).max_readers(MAX_READERS).max_dbs(16);
    // SAFETY: LMDB asks that nothing but LMDB changes the file while it is mapped; the folder is ours, with mode 0700.
    // The environment is opened once per process (`OPEN`), and no read transaction is held across a fork.
    unsafe { options.open(dir) }
}

fn open_databases(env: &heed::Env<WithTls>) -> Result<Dbs> {
    let txn = env.write_txn().map_err(fault::error)?;
    // Under the write lock, as other processes grow the file too. A file that was cut short would be SIGBUS where
    // it ends; zeros there are damage like any other, which reads report.
    fill_up(env).map_err(|e| Error::internal("checking the data file", e))?;
    let names = ["bites", "log", "cursors", "puts", "parked", "blobs", "owners", "values", "ends", "notes"];
    let opened = env.create_databases_and_commit(txn, |opener, txn| {
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            all.push(opener.create_database::<Bytes, Bytes>(txn, Some(name))?);
        }
        let all: [_; 10] = all.try_into().map_err(|_| Error::new(ErrorKind::Internal, "ten databases"))?;
        let [.., notes] = &all;
        match notes.get(txn, b"format")? {
            None => notes.put(txn, b"format", &[FORMAT])?,
            Some([FORMAT]) => {}
            Some(_) => {
                let sentence = "another version of Beep wrote this store: open it with that version";
                return Err(Error::new(ErrorKind::Unsupported, sentence).into());
            }
        }
        Ok(CommitOrAbort::<_, ()>::Commit(all))
    });
    let opened = opened.map_err(|abort| match abort {
        Abort::Own(error) => error,
        Abort::Engine(error) => fault::error(error),
    })?;
    let Some([bites, log, cursors, puts, parked, blobs, owners, values, ends, notes]) = opened.commit()
    else {
        return Err(Error::new(ErrorKind::Internal, "the databases were not opened"));
    };
    Ok(Dbs { bites, log, cursors, puts, parked, blobs, owners, values, ends, notes })
}

fn fill_up(env: &heed::Env<WithTls>) -> std::io::Result<()> {
    let page = u64::from(env.unnamed_database_stat().page_size);
    let last = env.info().last_page_number as u64;
    let Some(wanted) = last.checked_add(1 + SPARE_PAGES).and_then(|n| n.checked_mul(page)) else {
        return Ok(()); // a damaged number; LMDB will not find its pages and says so
    };
    let file = env.try_clone_inner_file().map_err(std::io::Error::other)?;
    if file.metadata()?.len() < wanted {
        file.set_len(wanted)?;
    }
    Ok(())
}

/// Empties a data file that was not even made whole: shorter than its two meta pages and one of data, so nothing was
/// ever committed to it. Whether it did.
fn start_over(dir: &Path) -> bool {
    let file = dir.join("data.mdb");
    let made = fs::metadata(&file).is_ok_and(|meta| meta.len() > 2 * 4_096);
    let emptied = !made && fs::OpenOptions::new().write(true).truncate(true).open(&file).is_ok();
    if emptied {
        tracing::warn!(file = %file.display(), "a store that was never finished is made anew; it held nothing");
    }
    emptied
}

fn make_dir(dir: &Path) -> Result<PathBuf> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.create(dir).and_then(|()| dir.canonicalize());
    made.map_err(|e| {
        let kind = if fault::is_disk_full(&e) { ErrorKind::Full } else { ErrorKind::Unavailable };
        Error::new(kind, format!("the folder {} cannot be made or opened", dir.display()))
            .with_source(e)
            .permanent()
    })
}
