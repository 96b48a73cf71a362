//! The private keys of an installation: files that only their owner may read.

use beep_core::{Error, ErrorKind, Result};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A private key in PEM. Reads as text, but never shows itself.
#[derive(Clone)]
pub struct PrivateKey {
    file: PathBuf,
    pem: String,
}

impl PrivateKey {
    /// Where it lies.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The text of the file.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

impl Deref for PrivateKey {
    type Target = str;
    fn deref(&self) -> &str {
        &self.pem
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The private keys in `keys/` of this folder, the signing one first: every `*.pem`, the highest number in front, and
/// what has no number as its name at the end. When there is none, `create` makes the first one (its PEM), which is kept
/// there as `0001.pem`. Blocks.
///
/// * The folder gets mode 0700 and the file 0600; the file is on disk, whole, before this returns.
/// * Of several processes that start at once, one makes the key and all answer it.
/// * A key that others may read is refused ([`ErrorKind::Invalid`]), and so is one that is no text.
pub fn load_or_create(dir: &Path, create: impl FnOnce() -> Result<String>) -> Result<Vec<PrivateKey>> {
    let folder = Folder::locked(dir)?;
    let found = folder.load()?;
    if !found.is_empty() {
        return Ok(found);
    }
    Ok(vec![folder.add(&found, create()?)?])
}

/// As [`load_or_create`], but creates none: empty where there is none. Blocks.
pub fn load(dir: &Path) -> Result<Vec<PrivateKey>> {
    Folder::locked(dir)?.load()
}

/// Keeps a further key under the next number, so that it signs from now on. `create` is given the one that signed so
/// far, if any. Blocks; as safe as [`load_or_create`].
pub fn rotate(dir: &Path, create: impl FnOnce(Option<&PrivateKey>) -> Result<String>) -> Result<PrivateKey> {
    let folder = Folder::locked(dir)?;
    let found = folder.load()?;
    let pem = create(found.first())?;
    folder.add(&found, pem)
}

/// Removes the numbered keys that were replaced more than `kept` before `now`; answers their files. Never the one that
/// signs. Blocks.
pub fn prune(dir: &Path, kept: Duration, now: SystemTime) -> Result<Vec<PathBuf>> {
    let folder = Folder::locked(dir)?;
    let found = folder.load()?;
    let mut removed = Vec::new();
    // The oldest first: the age of each is the file's that replaced it.
    for pair in found.windows(2).rev() {
        let [newer, older] = pair else { continue };
        let made = fs::metadata(&newer.file)
            .and_then(|m| m.modified())
            .map_err(folder.failed("reading a key's age"))?;
        // A file from the future is none that was made long ago.
        let replaced = now.duration_since(made).unwrap_or_default();
        if number(&older.file).is_some() && replaced > kept {
            fs::remove_file(&older.file).map_err(folder.failed("removing a key"))?;
            removed.push(older.file.clone());
        }
    }
    sync(&folder.0).map_err(folder.failed("removing keys"))?;
    Ok(removed)
}

/// The key files that are there and when each was written: differs when there is something to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles(Vec<(PathBuf, Option<SystemTime>)>);

/// What is there now. Takes no lock: for looking often. Blocks.
pub fn files(dir: &Path) -> Result<KeyFiles> {
    let folder = Folder(dir.join("keys"));
    let files = pems(&folder.0).map_err(folder.failed("looking for keys"))?;
    // One that went away in this moment has no time.
    let dated = files.into_iter().map(|file| {
        let written = fs::metadata(&file).and_then(|m| m.modified()).ok();
        (file, written)
    });
    Ok(KeyFiles(dated.collect()))
}

/// The folder of the keys.
struct Folder(PathBuf);

/// The folder, while no other process changes it.
struct Locked {
    folder: Folder,
    /// Held until the work is done; the system lets go of it when this process ends, however it ends.
    _lock: File,
}

impl Deref for Locked {
    type Target = Folder;
    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Folder {
    fn locked(dir: &Path) -> Result<Locked> {
        let folder = Self(dir.join("keys"));
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder.0).map_err(folder.failed("making the folder"))?;
        let lock = private().create(true).open(folder.0.join(".lock"));
        let lock = lock.map_err(folder.failed("making the lock file"))?;
        lock.lock().map_err(folder.failed("waiting for the lock"))?;
        Ok(Locked { folder, _lock: lock })
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> Error + use<> {
        let keys = self.0.clone();
        move |e| {
            let sentence = format!("{what} in {} failed", keys.display());
            Error::new(ErrorKind::Unavailable, sentence).with_source(e).permanent()
        }
    }

    /// The signing one first.
    fn load(&self) -> Result<Vec<PrivateKey>> {
        let mut files = pems(&self.0).map_err(self.failed("reading the keys"))?;
        files.reverse();
        let open =
            |path: PathBuf| Ok((path.clone(), File::open(path).map_err(self.failed("reading the keys"))?));
        files.into_iter().map(open).map(|opened| checked(opened?)).collect()
    }

    /// Under the number after the highest one.
    fn add(&self, found: &[PrivateKey], pem: String) -> Result<PrivateKey> {
        let next = found.first().and_then(|key| number(&key.file)).unwrap_or(0).saturating_add(1);
        let key = PrivateKey { file: self.0.join(format!("{next:04}.pem")), pem };
        store(&self.0, &key).map_err(self.failed("writing a key"))?;
        Ok(key)
    }
}

/// The number that is the file's name.
fn number(file: &Path) -> Option<u64> {
    let stem = file.file_stem()?.to_str()?;
    stem.bytes().all(|b| b.is_ascii_digit()).then(|| stem.parse().ok()).flatten()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A half-written key must never be found: it is complete on disk before it has its name.
fn store(keys: &Path, key: &PrivateKey) -> io::Result<()> {
    let temporary = keys.join(".new");
    // What a process left behind that died here; the lock is ours, so it is nobody's.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = private().create_new(true).open(&temporary)?;
    file.write_all(key.pem.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &key.file)?;
    sync(keys)
}

/// The names are in the folder, and the folder in its own parent.
fn sync(keys: &Path) -> io::Result<()> {
    for dir in [Some(keys), keys.parent()].into_iter().flatten() {
        #[cfg(unix)]
        File::open(dir)?.sync_all()?;
        #[cfg(not(unix))]
        drop(dir);
    }
    Ok(())
}

/// The files of keys, those without a number first, then by number.
fn pems(keys: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(keys)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "pem") {
            files.push(path);
        }
    }
    files.sort_by_cached_key(|path| (number(path), path.clone()));
    Ok(files)
}

fn checked((path, file): (PathBuf, File)) -> Result<PrivateKey> {
    let refused = |why: String| Error::new(ErrorKind::Invalid, format!("the key {} {why}", path.display()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().map_err(|e| refused(format!("cannot be read: {e}")))?.permissions().mode();
        if mode & 0o077 != 0 {
            let mode = mode & 0o777;
            let why = format!(
                "can be read by others (mode {mode:o}): run `chmod 600` on it, or replace it if they did"
            );
            return Err(refused(why));
        }
    }
    let pem = io::read_to_string(file).map_err(|e| refused(format!("cannot be read: {e}")))?;
    Ok(PrivateKey { file: path, pem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_a_key_and_later_ones_find_it() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_create(dir.path(), || Ok("first".into()))?;
        let found = load_or_create(dir.path(), || panic!("there is one already"))?;
        assert_eq!((made[0].pem(), found[0].pem()), ("first", "first"));
        assert!(!format!("{found:?}").contains("first"));
        Ok(())
    }

    #[test]
    fn processes_that_start_at_once_get_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let start = |n: usize| {
                let dir = dir.path();
                scope.spawn(move || {
                    load_or_create(dir, || Ok(format!("key {n}"))).unwrap()[0].pem().to_owned()
                })
            };
            let starts: Vec<_> = (0..16).map(start).collect();
            starts.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }

    #[test]
    fn what_a_killed_process_left_is_no_key() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("keys")).unwrap();
        fs::write(dir.path().join("keys/.new"), "hal").unwrap();
        assert_eq!(load_or_create(dir.path(), || Ok("whole".into()))?[0].pem(), "whole");
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_for_their_owner_only() -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let key = load_or_create(dir.path(), || Ok("secret".into()))?.remove(0);
        assert_eq!((mode(key.file()), mode(&dir.path().join("keys"))), (0o600, 0o700));
        for open in [0o640, 0o604, 0o620, 0o602] {
            fs::set_permissions(key.file(), fs::Permissions::from_mode(open)).unwrap();
            let refused = load_or_create(dir.path(), || Ok("other".into())).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{open:o}");
            assert!(refused.message().contains("chmod 600"), "{refused}");
        }
        Ok(())
    }

    #[test]
    fn the_highest_number_signs_and_old_keys_go_in_time() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let names = |keys: &[PrivateKey]| -> Vec<_> {
            keys.iter().map(|key| key.file().file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        let load = || load_or_create(dir.path(), || Ok("1".into()));
        load()?;
        // What somebody put there under a name of their own.
        private().create_new(true).open(dir.path().join("keys/own.pem")).unwrap();
        let second = rotate(dir.path(), |signing| Ok(format!("after {}", signing.unwrap().pem())))?;
        assert_eq!(second.pem(), "after 1");
        fs::rename(second.file(), dir.path().join("keys/9999.pem")).unwrap();
        let before = files(dir.path())?;
        assert_eq!(before, files(dir.path())?);
        // Not by letters: there it would come first.
        rotate(dir.path(), |_| Ok("third".into()))?;
        assert_ne!(before, files(dir.path())?);
        assert_eq!(names(&load()?), ["10000.pem", "9999.pem", "0001.pem", "own.pem"]);

        let (hour, now) =
            (Duration::from_secs(3_600), fs::metadata(dir.path().join("keys/10000.pem")).unwrap());
        let now = now.modified().unwrap();
        assert!(prune(dir.path(), hour, now)?.is_empty());
        assert!(prune(dir.path(), hour, now - 10 * hour)?.is_empty());
        assert_eq!(prune(dir.path(), hour, now + 2 * hour)?.len(), 2);
        assert_eq!(names(&load()?), ["10000.pem", "own.pem"]);
        Ok(())
    }
}
