//! Takes a Vosk model of the user's own into the speech folder, from a folder or a .zip file.

use super::bundled::BUNDLED;
use super::decode::LoadedModel;
use super::home::{ModelInfo, SpeechHome, cannot};
use super::libvosk;
use beep_core::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest published model unpacks to less than half of this; more is a mistake or an attack.
const MOST_BYTES: u64 = 16 << 30;
const MOST_FILES: usize = 10_000;
/// How deep below what was given the model may be, and how deep its own folders may go.
const DEEPEST: usize = 6;

/// Copies a model into the speech folder, from its folder or a .zip of it, and returns what it is called there.
///
/// * The model is the folder that holds `am/final.mdl`, wherever below `path` that is; its name is that folder's, or
///   the archive's where the archive holds the model directly.
/// * Where libvosk is at hand, the model is really loaded and tried before it is taken.
/// * Nothing outside the speech folder is written, whatever an archive says, and a refused model leaves nothing.
/// * A model of that name that is already there is not replaced: [`ErrorKind::Conflict`].
///
/// libvosk itself may end the process on a model that was made to harm; add only models whose source you trust.
pub fn add(home: &SpeechHome, path: &Path) -> Result<ModelInfo> {
    let meta = fs::metadata(path).map_err(|e| cannot("read", path, e))?;
    let scratch = home.scratch()?;
    let copy = scratch.path().join("model");
    let name = if meta.is_dir() {
        let absolute = path.canonicalize().map_err(|e| cannot("read", path, e))?;
        let found = find(&absolute, DEEPEST)?.ok_or_else(|| no_model(path))?;
        check_files(&found)?;
        copy_folder(&found, &copy, DEEPEST, &mut Budget::default())?;
        found.file_name().unwrap_or_default().to_string_lossy().into_owned()
    } else {
        let unpacked = scratch.path().join("unpacked");
        unzip(path, &unpacked)?;
        let found = find(&unpacked, DEEPEST)?.ok_or_else(|| no_model(path))?;
        let named = if found == unpacked { path.file_stem() } else { found.file_name() };
        let name = named.unwrap_or_default().to_string_lossy().into_owned();
        fs::rename(&found, &copy).map_err(|e| cannot("unpack", path, e))?;
        name
    };
    check_name(&name)?;
    check_files(&copy)?;
    if libvosk::load(home, None).is_ok() {
        LoadedModel::open(&copy)?;
    }
    let _lock = home.lock()?;
    let target = home.models().join(&name);
    if target.exists() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("there is a model {name} already; remove {} first", target.display()),
        ));
    }
    fs::rename(&copy, &target).map_err(|e| cannot("make", &target, e))?;
    Ok(ModelInfo::of(target))
}

/// Refuses a folder in which a file that libvosk needs is missing or empty, with the file's name.
pub(super) fn check_files(model: &Path) -> Result<()> {
    let filled = |name: &str| fs::metadata(model.join(name)).is_ok_and(|m| m.is_file() && m.len() > 0);
    let refuse = |what: &str| {
        Err(Error::new(
            ErrorKind::Invalid,
            format!("{} is not a whole Vosk model: {what} is missing or empty", model.display()),
        ))
    };
    for name in ["am/final.mdl", "conf/mfcc.conf", "conf/model.conf"] {
        if !filled(name) {
            return refuse(name);
        }
    }
    if filled("graph/HCLG.fst") {
        return if filled("graph/words.txt") { Ok(()) } else { refuse("graph/words.txt") };
    }
    // A lookahead graph carries its words in Gr.fst where there is no list of them.
    for name in ["graph/HCLr.fst", "graph/Gr.fst"] {
        if !filled(name) {
            return refuse(&format!("graph/HCLG.fst or {name}"));
        }
    }
    // May be empty, but libvosk wants to read it.
    if model.join("graph/disambig_tid.int").is_file() { Ok(()) } else { refuse("graph/disambig_tid.int") }
}

fn no_model(path: &Path) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("there is no Vosk model in {}: no folder in it has am/final.mdl", path.display()),
    )
}

/// A name becomes a folder, a setting and part of each transcript, so it is kept plain.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name == BUNDLED {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("{BUNDLED} is the model that comes with Beep; rename your folder"),
        ));
    }
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "{name:?} cannot be a model's name; rename the folder to letters, digits, dots and dashes"
            ),
        ));
    }
    Ok(())
}

/// The first folder, breadth first enough for real archives, that holds `am/final.mdl`.
fn find(dir: &Path, depth: usize) -> Result<Option<PathBuf>> {
    if dir.join("am/final.mdl").is_file() {
        return Ok(Some(dir.to_path_buf()));
    }
    if depth == 0 {
        return Ok(None);
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| cannot("list", dir, e))? {
        let entry = entry.map_err(|e| cannot("list", dir, e))?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            folders.push(entry.path());
        }
    }
    folders.sort();
    for folder in folders {
        if let Some(found) = find(&folder, depth - 1)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// How much a model may still take.
struct Budget {
    bytes: u64,
    files: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: MOST_BYTES, files: MOST_FILES }
    }
}

impl Budget {
    /// Copies one file, as far as the budget goes.
    fn copy(&mut self, from: &mut impl Read, to: &Path) -> Result<()> {
        let too_large = || {
            let most = MOST_BYTES >> 30;
            Error::new(
                ErrorKind::TooLarge,
                format!("more than {most} GiB or {MOST_FILES} files is no Vosk model"),
            )
        };
        self.files = self.files.checked_sub(1).ok_or_else(too_large)?;
        let mut out = File::create(to).map_err(|e| cannot("write", to, e))?;
        let copied =
            io::copy(&mut from.take(self.bytes + 1), &mut out).map_err(|e| cannot("write", to, e))?;
        self.bytes = self.bytes.checked_sub(copied).ok_or_else(too_large)?;
        Ok(())
    }
}

/// Copies a folder. A link to a file is followed, a link to a folder is not: it could lead in a circle.
fn copy_folder(from: &Path, to: &Path, depth: usize, budget: &mut Budget) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| cannot("make", to, e))?;
    for entry in fs::read_dir(from).map_err(|e| cannot("list", from, e))? {
        let entry = entry.map_err(|e| cannot("list", from, e))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if depth > 0 {
                copy_folder(&source, &target, depth - 1, budget)?;
            }
        } else if source.is_file() {
            let mut file = File::open(&source).map_err(|e| cannot("read", &source, e))?;
            budget.copy(&mut file, &target)?;
        }
    }
    Ok(())
}

/// Unpacks an archive below `to`. A member whose path leads out of there, or that is a link, refuses the archive.
fn unzip(archive: &Path, to: &Path) -> Result<()> {
    let broken = |e: zip::result::ZipError| {
        Error::new(
            ErrorKind::Invalid,
            format!("{} is not a .zip archive that can be read", archive.display()),
        )
        .with_source(e)
    };
    let file = File::open(archive).map_err(|e| cannot("read", archive, e))?;
    let mut zip = zip::ZipArchive::new(io::BufReader::new(file)).map_err(broken)?;
    let mut budget = Budget::default();
    fs::create_dir_all(to).map_err(|e| cannot("make", to, e))?;
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).map_err(broken)?;
        let inside = member.enclosed_name().filter(|_| !member.is_symlink()).ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                format!("{} has a member that leads out of it: {:?}", archive.display(), member.name()),
            )
        })?;
        let target = to.join(inside);
        let folder = if member.is_dir() { Some(target.as_path()) } else { target.parent() };
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(|e| cannot("make", folder, e))?;
        }
        if !member.is_dir() {
            budget.copy(&mut member, &target)?;
        }
    }
    Ok(())
}
