//! Which files to ingest: those named, those in folders, standard input; each once, each with its start.

use super::Start;
use crate::failure::{Failure, Result};
use beep_core::clock::{Clock, Millis, System};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A recording to be.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it is; `-` is standard input.
    pub path: PathBuf,
    /// Whether it was named, not found in a folder: then it has to be audio.
    pub named: bool,
    /// Where it is to stand, if there is room.
    pub start: Millis,
    /// How long it was when it was found; 0 when that cannot be told.
    pub bytes: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The files by start; those of one start in the order of their names, which is their order in the conversation.
    pub groups: BTreeMap<Millis, Vec<File>>,
    /// What could not be looked at.
    pub unreadable: Vec<(PathBuf, Failure)>,
    seen: HashSet<PathBuf>,
}

impl Found {
    /// How many files.
    pub fn len(&self) -> usize {
        self.groups.values().map(Vec::len).sum()
    }

    fn keep(&mut self, file: File) {
        self.groups.entry(file.start).or_default().push(file);
    }

    fn refuse(&mut self, path: &Path, e: &io::Error) {
        self.unreadable.push((path.to_path_buf(), Failure::io("read", path, e)));
    }
}

/// Looks at everything that was named, folders recursively.
pub fn find(paths: &[PathBuf], start: Option<Start>) -> Result<Found> {
    let mut found = Found::default();
    let now = System.now();
    for path in paths {
        if path.as_os_str() == "-" {
            let start = match start {
                None | Some(Start::Now) => now,
                Some(Start::At(at)) => at,
                Some(Start::Mtime) => {
                    return Err(Failure::usage(
                        "standard input has no modification time: say --start MS or now",
                    ));
                }
            };
            if found.seen.insert(path.clone()) {
                found.keep(File { path: path.clone(), named: true, start, bytes: 0 });
            }
            continue;
        }
        // A path that begins with a dash would be taken for a flag, so `./-` names a file called `-`.
        visit(path, true, start.unwrap_or(Start::Mtime), now, &mut found);
    }
    Ok(found)
}

fn visit(path: &Path, named: bool, start: Start, now: Millis, found: &mut Found) {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) => return found.refuse(path, &e),
    };
    if meta.is_dir() {
        return match children(path) {
            Ok(children) => {
                for child in children {
                    // A link to a folder may lead in a circle, and reading a pipe may never end.
                    if child.is_file() || child.is_dir() && !child.is_symlink() {
                        visit(&child, false, start, now, found);
                    }
                }
            }
            Err(e) => found.refuse(path, &e),
        };
    }
    // Named twice, or by another path as well: still one recording.
    if !found.seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_path_buf())) {
        return;
    }
    let start = match start {
        Start::Now => now,
        Start::At(at) => at,
        Start::Mtime => match mtime(&meta) {
            Ok(at) => at,
            Err(e) => return found.refuse(path, &e),
        },
    };
    found.keep(File { path: path.to_path_buf(), named, start, bytes: meta.len() });
}

fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut children = fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    children.sort();
    Ok(children)
}

/// Milliseconds since 1970; what is older stands at 0.
fn mtime(meta: &Metadata) -> io::Result<Millis> {
    let since = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX))
}

/// The bytes of a file or of standard input, at most one more than `most`: enough to see that it is too large. Blocks.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = most as u64 + 1;
    let done = if path.as_os_str() == "-" {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    done.map(|_| bytes).map_err(|e| Failure::io("read", path, &e))
}
