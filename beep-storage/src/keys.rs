//! The private keys of an installation: files that only their owner may read.

use beep_core::{Error, ErrorKind, Result};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};

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

/// The private keys in `keys/` of this folder, by file name: every `*.pem`. When there is none, `create` makes the
/// first one (its PEM), which is kept there as `0001.pem`. Blocks.
///
/// * The folder gets mode 0700 and the file 0600; the file is on disk, whole, before this returns.
/// * Of several processes that start at once, one makes the key and all answer it.
/// * A key that others may read is refused ([`ErrorKind::Invalid`]), and so is one that is no text.
pub fn load_or_create(dir: &Path, create: impl FnOnce() -> Result<String>) -> Result<Vec<PrivateKey>> {
    let keys = dir.join("keys");
    let doing = |what: &'static str| {
        let keys = keys.clone();
        move |e: io::Error| {
            let sentence = format!("{what} in {} failed", keys.display());
            Error::new(ErrorKind::Unavailable, sentence).with_source(e).permanent()
        }
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&keys).map_err(doing("making the folder"))?;
    // Held until the key is in place; the system lets go of it when this process ends, however it ends.
    let lock = private().create(true).open(keys.join(".lock")).map_err(doing("making the lock file"))?;
    lock.lock().map_err(doing("waiting for the lock"))?;
    let found = load(&keys).map_err(doing("reading the keys"))?;
    if !found.is_empty() {
        return found.into_iter().map(checked).collect();
    }
    let key = PrivateKey { file: keys.join("0001.pem"), pem: create()? };
    store(&keys, &key).map_err(doing("writing the first key"))?;
    Ok(vec![key])
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
    // The name is in the folder, and the folder in its own parent.
    for dir in [Some(keys), keys.parent()].into_iter().flatten() {
        #[cfg(unix)]
        File::open(dir)?.sync_all()?;
        #[cfg(not(unix))]
        drop(dir);
    }
    Ok(())
}

fn load(keys: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(keys)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "pem") {
            files.push((path.clone(), File::open(path)?));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
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
}
