//! The model that is part of the program: digits and a few commands, so that everything works without a download.

use super::home::{ModelInfo, SpeechHome, cannot};
use beep_core::Result;
use std::fs;
use std::path::Path;

/// The name of the model that comes with Beep. See `speech/README.md` for how it was made and how good it is.
pub const BUNDLED: &str = "model-digits";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/speech/model-digits/", $name)))),*]
    };
}

const FILES: &[(&str, &[u8])] = files![
    "README.md",
    "am/final.mdl",
    "conf/mfcc.conf",
    "conf/model.conf",
    "graph/Gr.fst",
    "graph/HCLr.fst",
    "graph/disambig_tid.int",
    "graph/phones.txt",
    "graph/phones/word_boundary.int",
    "graph/words.txt",
];

/// Writes the bundled model into the speech folder, unless it is there already. Says whether anything was written.
pub(super) fn unpack(home: &SpeechHome) -> Result<bool> {
    let target = home.models().join(BUNDLED);
    if is_there(&target) {
        return Ok(false);
    }
    let _lock = home.lock()?;
    if is_there(&target) {
        return Ok(false);
    }
    let scratch = home.scratch()?;
    let fresh = scratch.path().join(BUNDLED);
    for (name, bytes) in FILES {
        let path = fresh.join(name);
        let folder = path.parent().unwrap_or(&fresh);
        fs::create_dir_all(folder).map_err(|e| cannot("make", folder, e))?;
        fs::write(&path, bytes).map_err(|e| cannot("write", &path, e))?;
    }
    if target.exists() {
        // One of another version of Beep. It goes away with the scratch folder; who has it open keeps its files.
        fs::rename(&target, scratch.path().join("old")).map_err(|e| cannot("replace", &target, e))?;
    }
    fs::rename(&fresh, &target).map_err(|e| cannot("make", &target, e))?;
    Ok(true)
}

/// What is known of the bundled model.
pub(super) fn info(home: &SpeechHome) -> ModelInfo {
    ModelInfo::of(home.models().join(BUNDLED))
}

fn is_there(target: &Path) -> bool {
    FILES.iter().all(|(name, bytes)| fs::read(target.join(name)).is_ok_and(|found| found == *bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_two_megabytes() {
        assert!(FILES.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 2_000_000);
    }

    #[test]
    fn unpacked_once_and_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let home = SpeechHome::new(dir.path());
        assert!(unpack(&home).unwrap());
        assert!(!unpack(&home).unwrap());
        fs::write(info(&home).path.join("am/final.mdl"), "torn").unwrap();
        assert!(unpack(&home).unwrap());
        assert!(is_there(&info(&home).path));
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|n| n.to_string_lossy().starts_with(".new-")), "{left:?}");
    }
}
