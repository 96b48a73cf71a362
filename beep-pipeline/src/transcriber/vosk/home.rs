//! The speech folder: where libvosk and the models are, which models there are, and which one is used.

use super::bundled::{self, BUNDLED};
use beep_core::{Error, ErrorKind, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folder with all that transcribing needs: `lib/libvosk.so` and `models/<name>/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeechHome {
    dir: PathBuf,
}

impl SpeechHome {
    /// The speech folder at this path, by custom `<data dir>/speech`. Nothing is made until something is put into it.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the native library is after an install.
    pub fn library(&self) -> PathBuf {
        self.dir.join("lib").join(super::libvosk::FILE_NAME)
    }

    /// The folder of all models.
    pub(super) fn models(&self) -> PathBuf {
        self.dir.join("models")
    }

    /// Keeps other processes from changing the folder until the answer is dropped; waits for one that already does.
    pub(super) fn lock(&self) -> Result<fs::File> {
        let path = self.dir.join(".lock");
        fs::create_dir_all(self.models())
            .and_then(|()| fs::File::options().create(true).append(true).open(&path))
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|e| cannot("lock", &path, e))
    }

    /// An empty folder on the same file system, to fill before it is renamed into place. Removed when dropped.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir> {
        fs::create_dir_all(&self.dir)
            .and_then(|()| tempfile::Builder::new().prefix(".new-").tempdir_in(&self.dir))
            .map_err(|e| cannot("make a temporary folder in", &self.dir, e))
    }
}

/// The error of a file operation, with what was done to which path.
pub(super) fn cannot(doing: &str, path: &Path, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("cannot {doing} {}", path.display())).with_source(e)
}

/// One model of the speech folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name, which is that of its folder.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// BCP 47 language, `und` when it does not say.
    pub language: String,
    /// Whether it came with Beep: twenty words for tests and demonstrations, not a transcriber.
    pub bundled: bool,
}

impl ModelInfo {
    pub(super) fn of(path: PathBuf) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bundled = name == BUNDLED;
        let language = if bundled { Some("en".to_owned()) } else { said(&path).or_else(|| named(&name)) };
        Self { name, path, language: language.unwrap_or_else(|| "und".to_owned()), bundled }
    }
}

/// The language in a `Language: xx` line of the model's README.
fn said(path: &Path) -> Option<String> {
    let readme =
        ["README.md", "README", "README.txt"].iter().find_map(|f| fs::read_to_string(path.join(f)).ok())?;
    let tag = readme.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        let key = key.trim_matches(|c: char| !c.is_ascii_alphabetic());
        key.eq_ignore_ascii_case("language").then(|| value.trim().to_owned())
    })?;
    let plain = tag.len() <= 35
        && tag.split('-').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric()));
    plain.then_some(tag)
}

/// The language in a name such as `vosk-model-small-en-us-0.15`, as all published models have it.
fn named(name: &str) -> Option<String> {
    let mut parts = name.strip_prefix("vosk-model-")?.split('-').filter(|p| !matches!(*p, "small" | "big"));
    let letters = |p: &&str| (2..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_lowercase());
    let language = match parts.next().filter(letters)? {
        // Named by country where the standard has a language.
        "cn" => "zh",
        "kz" => "kk",
        "vn" => "vi",
        language => language,
    };
    Some(match parts.next().filter(|p| p.len() == 2).filter(letters) {
        Some(region) => format!("{language}-{}", region.to_ascii_uppercase()),
        None => language.to_owned(),
    })
}

/// All models of the folder by name, with the bundled one even where nothing has unpacked it yet.
pub fn models(home: &SpeechHome) -> Result<Vec<ModelInfo>> {
    Ok(by_age(home)?.into_iter().map(|(_, model)| model).collect())
}

/// The model to use: the one of that name, else the one added last, else the bundled one (unpacked if need be).
///
/// A name that is not there is [`ErrorKind::NotFound`] with the names that are.
pub fn select(home: &SpeechHome, name: Option<&str>) -> Result<ModelInfo> {
    let mut all = by_age(home)?;
    let chosen = match name {
        Some(name) => all.iter().position(|(_, m)| m.name == name),
        None => {
            all.iter().enumerate().max_by_key(|(_, (added, m))| (!m.bundled, *added)).map(|(index, _)| index)
        }
    };
    let Some(index) = chosen else {
        let names: Vec<_> = all.iter().map(|(_, m)| m.name.as_str()).collect();
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "no speech model {:?} in {}; there are {}; add one with `beep-cli speech add PATH`",
                name.unwrap_or_default(),
                home.models().display(),
                names.join(", "),
            ),
        ));
    };
    let (_, model) = all.swap_remove(index);
    if model.bundled {
        bundled::unpack(home)?;
    }
    Ok(model)
}

/// Models by name, each with the time at which its folder was made.
fn by_age(home: &SpeechHome) -> Result<Vec<(SystemTime, ModelInfo)>> {
    let dir = home.models();
    let mut all = vec![(SystemTime::UNIX_EPOCH, ModelInfo::of(dir.join(BUNDLED)))];
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(all),
        Err(e) => return Err(cannot("list", &dir, e)),
    };
    for entry in entries {
        let path = entry.map_err(|e| cannot("list", &dir, e))?.path();
        let model = ModelInfo::of(path);
        if model.bundled || model.name.starts_with('.') || !model.path.join("am/final.mdl").is_file() {
            continue;
        }
        let meta = fs::metadata(&model.path).map_err(|e| cannot("look at", &model.path, e))?;
        all.push((meta.modified().map_err(|e| cannot("look at", &model.path, e))?, model));
    }
    all.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_from_published_names() {
        assert_eq!(named("vosk-model-small-en-us-0.15").as_deref(), Some("en-US"));
        assert_eq!(named("vosk-model-de-0.21").as_deref(), Some("de"));
        assert_eq!(named("vosk-model-small-cn-0.22").as_deref(), Some("zh"));
        assert_eq!(named("vosk-model-ar-mgb2-0.4").as_deref(), Some("ar"));
        assert_eq!(named("my-model"), None);
    }

    #[test]
    fn the_model_added_last_wins_over_the_bundled_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = SpeechHome::new(dir.path());
        assert_eq!(select(&home, None).unwrap().name, BUNDLED);
        for name in ["b-first", "a-second"] {
            fs::create_dir_all(home.models().join(name).join("am")).unwrap();
            fs::write(home.models().join(name).join("am/final.mdl"), "x").unwrap();
            fs::write(home.models().join(name).join("README"), "* Language: nl-BE\n").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let model = select(&home, None).unwrap();
        assert_eq!((model.name.as_str(), model.language.as_str()), ("a-second", "nl-BE"));
        assert_eq!(select(&home, Some(BUNDLED)).unwrap().language, "en");
        let error = select(&home, Some("c")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("a-second, b-first, model-digits"), "{error}");
    }
}
