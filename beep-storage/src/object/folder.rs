//! Objects as files of a folder.
//!
//! Not `object_store`'s own: that one answers before the folders on the way to a file are on disk when another call
//! made them, makes files that others may read, lists in no order, and leaves half-written files where nobody looks.

use super::objects::{Mode, Shelf};
use beep_core::bite::Digest;
use beep_core::clock::Millis;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// How many characters of a body's name name its folder. Bodies are named by time in hex milliseconds: these seven
/// gather a quarter of an hour, and keep the order, so that a page of names reads one folder.
const GATHERED: usize = 7;
/// How many folders are remembered to be on disk.
const REMEMBERED: usize = 4_096;

/// A folder; files are 0600, folders 0700.
#[derive(Clone)]
pub(super) struct Folder(Arc<Inner>);

struct Inner {
    root: PathBuf,
    /// Folders that are on disk, as seen by this process: whoever finds a folder that another one has just made must
    /// not answer before it is.
    on_disk: Mutex<HashSet<PathBuf>>,
    /// A folder could not be synced: what it holds is not known any more.
    failed: AtomicBool,
}

impl Folder {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let made = || {
            let root = std::path::absolute(root)?;
            let missing: Vec<_> = root.ancestors().take_while(|folder| !folder.exists()).collect();
            make(&root)?;
            sync(&root)?;
            missing.iter().filter_map(|folder| folder.parent()).try_for_each(sync)?;
            Ok(root.clone())
        };
        let root = made().map_err(|e| error(e, root))?;
        Ok(Self(Arc::new(Inner { root, on_disk: Mutex::default(), failed: AtomicBool::new(false) })))
    }

    pub(super) fn name(&self) -> String {
        format!("file:{}", self.0.root.display())
    }

    pub(super) async fn put(&self, shelf: Shelf<'_>, name: &str, bytes: Bytes, mode: Mode) -> Result<bool> {
        let path = self.path(shelf, name);
        self.run(move |inner| {
            inner.sound()?;
            inner.put(&path, &bytes, mode)
        })
        .await
    }

    pub(super) async fn get(
        &self,
        shelf: Shelf<'_>,
        name: &str,
        first: Option<u64>,
    ) -> Result<Option<Bytes>> {
        let path = self.path(shelf, name);
        self.run(move |_| {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e),
            };
            let mut bytes = Vec::new();
            match first {
                Some(first) => file.take(first).read_to_end(&mut bytes)?,
                None => file.read_to_end(&mut bytes)?,
            };
            Ok(Some(bytes.into()))
        })
        .await
    }

    pub(super) async fn delete(&self, shelf: Shelf<'_>, name: &str) -> Result<()> {
        let path = self.path(shelf, name);
        self.run(move |inner| match fs::remove_file(&path) {
            Ok(()) => inner.sync_around(&path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        })
        .await
    }

    pub(super) async fn list(
        &self,
        shelf: Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Millis)>> {
        let top = self.0.root.join(shelf.path());
        let after = after.map(str::to_owned);
        let gathered = matches!(shelf, Shelf::Bodies);
        self.run(move |_| {
            let after = after.as_deref();
            if !gathered {
                return page(&top, after, limit);
            }
            let mut names = Vec::new();
            for folder in entries(&top)? {
                // Behind `after` lies nothing in the folders before its own.
                if names.len() < limit && after.is_none_or(|after| folder.as_str() >= gather(after)) {
                    names.extend(page(&top.join(folder), after, limit - names.len())?);
                }
            }
            Ok(names)
        })
        .await
    }

    pub(super) async fn ready(&self) -> Result<()> {
        self.run(|inner| {
            inner.sound()?;
            fs::metadata(&inner.root).map(drop)
        })
        .await
    }

    fn path(&self, shelf: Shelf<'_>, name: &str) -> PathBuf {
        let folder = self.0.root.join(shelf.path());
        match shelf {
            Shelf::Bodies => folder.join(gather(name)).join(name),
            // Whatever they are called: spread evenly, as nobody lists them.
            Shelf::Blobs => folder.join(format!("{:02x}", Digest::of(name.as_bytes()).0[0])).join(name),
            Shelf::Owner(_) | Shelf::Probes => folder.join(name),
        }
    }

    /// Files are read and synced off the runtime's threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|e| Error::internal("working on the folder", e))?.map_err(|e| error(e, &self.0.root))
    }
}

impl Inner {
    /// Refuses to promise anything after a sync that failed.
    fn sound(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other(
                "the disk failed to keep something, so nothing is stored any more: check it, then open the store anew",
            ));
        }
        Ok(())
    }

    fn put(&self, path: &Path, bytes: &[u8], mode: Mode) -> io::Result<bool> {
        self.keep_folder(path)?;
        let (mut file, staged) = match stage(path) {
            // Somebody removed the folder that was there.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.on_disk().clear();
                self.keep_folder(path)?;
                stage(path)?
            }
            staged => staged?,
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let published = written.and_then(|()| match mode {
            Mode::Replace => fs::rename(&staged, path).map(|()| true),
            Mode::Create => match fs::hard_link(&staged, path) {
                Ok(()) => fs::remove_file(&staged).map(|()| true),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(e) => Err(e),
            },
        });
        match published {
            Ok(true) => {
                self.sync_around(path)?;
                Ok(true)
            }
            other => {
                // What cannot be removed now is an orphan like any other.
                fs::remove_file(&staged).ok();
                // Whoever made what is there may not have synced it yet, and the caller will act on it.
                if matches!(other, Ok(false)) {
                    self.sync_around(path)?;
                }
                other
            }
        }
    }

    /// Makes the folder of this file, and does not return before all folders on the way are on disk.
    fn keep_folder(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        if self.on_disk().contains(folder) {
            return Ok(());
        }
        make(folder)?;
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.root)) {
            self.synced(folder)?;
        }
        let mut on_disk = self.on_disk();
        if on_disk.len() >= REMEMBERED {
            on_disk.clear();
        }
        on_disk.insert(folder.to_owned());
        Ok(())
    }

    fn sync_around(&self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |folder| self.synced(folder))
    }

    fn synced(&self, folder: &Path) -> io::Result<()> {
        sync(folder).inspect_err(|e| {
            // A folder that is gone holds nothing that was promised; any other failure may be said only once.
            if e.kind() != io::ErrorKind::NotFound {
                self.failed.store(true, Ordering::Release);
            }
        })
    }

    fn on_disk(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.on_disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder of a body with this name. Keeps the order: of two names the smaller is never in the larger folder.
fn gather(name: &str) -> &str {
    name.get(..GATHERED).unwrap_or(name)
}

/// An empty file beside `path` that no other put uses.
fn stage(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut n = 1u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("~{n}"));
        match options.open(&name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < 1_000 => n += 1,
            opened => return opened.map(|file| (file, name.into())),
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Names of files and folders outlive a crash only when their folder is synced.
fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    drop(folder);
    Ok(())
}

/// What is in a folder, in byte order; nothing in one that is not there. Files of other makers are passed over.
fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = match fs::read_dir(folder) {
        Ok(entries) => entries
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect::<io::Result<Vec<_>>>()?,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Vec::new(),
        Err(e) => return Err(e),
    };
    names.sort_unstable();
    Ok(names)
}

fn page(folder: &Path, after: Option<&str>, limit: usize) -> io::Result<Vec<(String, Millis)>> {
    let mut names = Vec::new();
    for name in entries(folder)? {
        if names.len() == limit {
            break;
        }
        if after.is_some_and(|after| name.as_str() <= after) {
            continue;
        }
        match fs::metadata(folder.join(&name)).and_then(|about| about.modified()) {
            Ok(written) => {
                let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
                names.push((name, since.as_millis() as Millis));
            }
            // Deleted since it was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(names)
}

fn error(e: io::Error, root: &Path) -> Error {
    use io::ErrorKind as Io;
    /// The disk cannot read what it holds: EIO, EBADMSG, EUCLEAN.
    const DAMAGED: [i32; 3] = [5, 74, 117];
    let (kind, sentence) = match e.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
            (ErrorKind::Full, "the disk is full and nothing was stored: free space on it")
        }
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            (ErrorKind::Unavailable, "the folder may not be used: give it to the user that Beep runs as")
        }
        _ if e.raw_os_error().is_some_and(|code| DAMAGED.contains(&code)) => {
            (ErrorKind::Corrupt, "the disk fails: check it, and restore what is damaged from a backup")
        }
        _ => (ErrorKind::Unavailable, "the folder cannot be used now"),
    };
    Error::new(kind, sentence).with("folder", root.display()).with_source(e)
}
