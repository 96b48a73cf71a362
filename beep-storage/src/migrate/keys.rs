//! The keys of tokens: files that are copied from data folder to data folder, so that every token stays good.

use crate::keys;
use beep_core::{Error, ErrorKind, Result};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Copies the key files of one data folder into another; answers those that were not there yet. Blocks.
///
/// * Each is on disk, whole, readable by its owner only and with its age, before this returns.
/// * A file that is there with other bytes is [`ErrorKind::Conflict`] and stays as it is; nothing is copied then.
pub fn copy_keys(from: &Path, to: &Path) -> Result<Vec<PathBuf>> {
    let failed = |doing: &'static str| move |e: std::io::Error| Error::internal(doing, e);
    if !from.join("keys").is_dir() {
        return Ok(Vec::new());
    }
    let there = keys::load(to)?;
    let mut missing = Vec::new();
    for key in keys::load(from)? {
        let Some(name) = key.file().file_name() else { continue };
        let file = to.join("keys").join(name);
        match there.iter().find(|t| t.file().file_name() == Some(name)) {
            Some(same) if same.pem() == key.pem() => {}
            Some(_) => {
                let sentence = format!(
                    "{} is another key than that of the source: move it away if nothing was signed with it, then run this again",
                    file.display()
                );
                return Err(Error::new(ErrorKind::Conflict, sentence));
            }
            None => missing.push((key, file)),
        }
    }
    let folder = to.join("keys");
    for (key, file) in &missing {
        let mut half = file.clone();
        half.set_extension("copying");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut out = options.open(&half).map_err(failed("writing a key"))?;
        out.write_all(key.pem().as_bytes()).map_err(failed("writing a key"))?;
        let made =
            fs::metadata(key.file()).and_then(|m| m.modified()).map_err(failed("reading a key's age"))?;
        out.set_modified(made).and_then(|()| out.sync_all()).map_err(failed("writing a key"))?;
        // Unlike a renamed file, a link never takes the place of one that came meanwhile.
        fs::hard_link(&half, file).map_err(failed("placing a key"))?;
        fs::remove_file(&half).map_err(failed("placing a key"))?;
    }
    if !missing.is_empty() {
        fs::File::open(&folder).and_then(|f| f.sync_all()).map_err(failed("syncing the folder of keys"))?;
    }
    Ok(missing.into_iter().map(|(_, file)| file).collect())
}
