//! The speech folder: installing, adding models from folders and archives, refusing what is broken or hostile.
#![cfg(feature = "transcribe-vosk")]

use crate::speech_support::{clips, copy_model, home};
use beep_core::transcriber::Transcriber;
use beep_core::{Error, ErrorKind};
use beep_pipeline::transcriber::vosk::{
    BUNDLED, SpeechHome, VoskOptions, VoskTranscriber, add, install, models, select,
};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;
use zip::write::{SimpleFileOptions, ZipWriter};

/// An empty speech folder of its own.
fn empty() -> (TempDir, SpeechHome) {
    let dir = tempfile::tempdir().unwrap();
    let home = SpeechHome::new(dir.path().join("speech"));
    (dir, home)
}

/// All files below a folder, as an archive with this prefix before each name.
fn zip_of(folder: &Path, prefix: &str, to: &Path) {
    fn put(zip: &mut ZipWriter<File>, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                put(zip, &path, &format!("{name}/"));
            } else {
                zip.start_file(name, SimpleFileOptions::default()).unwrap();
                zip.write_all(&fs::read(path).unwrap()).unwrap();
            }
        }
    }
    let mut zip = ZipWriter::new(File::create(to).unwrap());
    put(&mut zip, folder, prefix);
    zip.finish().unwrap();
}

fn nothing_left_of(home: &SpeechHome) {
    assert_eq!(models(home).unwrap().len(), 1, "only the bundled one");
    let left = fs::read_dir(home.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(!left.collect::<String>().contains(".new-"));
}

#[test]
fn install_twice_and_at_once_does_the_work_once() {
    if std::env::var_os("VOSK_LIB").is_some() || home().is_none() {
        return; // no pip, or none wanted
    }
    let (_dir, home) = empty();
    let changed: Vec<_> = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| install(&home, &mut |_| ()).unwrap().changed));
        both.map(|one| one.join().unwrap()).into()
    });
    assert!(changed.contains(&true));
    let before = fs::metadata(home.library()).unwrap().modified().unwrap();
    let again = install(&home, &mut |line| panic!("nothing to do, but: {line}")).unwrap();
    assert!(!again.changed);
    assert_eq!(fs::metadata(home.library()).unwrap().modified().unwrap(), before);

    fs::write(home.library(), "torn").unwrap();
    assert!(install(&home, &mut |_| ()).unwrap().changed, "a damaged library is replaced");
    assert!(fs::metadata(home.library()).unwrap().len() > 1_000_000);
}

#[tokio::test]
async fn added_folder_is_used_from_then_on() {
    let (dir, home) = empty();
    copy_model(&dir.path().join("download/vosk-model-small-en-us-0.15"));
    let model = add(&home, &dir.path().join("download")).unwrap();
    assert_eq!((model.name.as_str(), model.language.as_str()), ("vosk-model-small-en-us-0.15", "en-US"));
    assert_eq!(select(&home, None).unwrap(), model);
    assert_eq!(select(&home, Some(BUNDLED)).unwrap().name, BUNDLED);
    let names: Vec<_> = models(&home).unwrap().into_iter().map(|m| m.name).collect();
    assert_eq!(names, [BUNDLED, "vosk-model-small-en-us-0.15"]);

    let again = add(&home, &dir.path().join("download")).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    if crate::speech_support::home().is_none() {
        return;
    }
    let options = VoskOptions { lib: crate::speech_support::library(), ..VoskOptions::default() };
    let vosk = VoskTranscriber::open(&home, options).unwrap();
    let (_, clip, said) = clips().swap_remove(1);
    let heard = vosk.transcribe(clip).await.unwrap();
    assert_eq!((heard.text, heard.language.as_str()), (said, "en-US"));
    assert_eq!(heard.model, "vosk/vosk-model-small-en-us-0.15");
}

#[test]
fn added_archives_with_and_without_a_folder() {
    let (dir, home) = empty();
    copy_model(&dir.path().join("model"));
    for (prefix, archive, name) in [("inner/", "outer.zip", "inner"), ("", "flat.zip", "flat")] {
        zip_of(&dir.path().join("model"), prefix, &dir.path().join(archive));
        let model = add(&home, &dir.path().join(archive)).unwrap();
        assert_eq!((model.name.as_str(), model.language.as_str()), (name, "und"));
        assert!(model.path.join("graph/words.txt").is_file());
    }
    assert_eq!(models(&home).unwrap().len(), 3);
}

#[test]
fn archive_that_leads_outside_is_refused() {
    let (dir, home) = empty();
    for (number, name) in ["../../outside", "/tmp/beep-outside", "model/../../../outside"].iter().enumerate()
    {
        let path = dir.path().join(format!("slip{number}.zip"));
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(b"gotcha").unwrap();
        zip.finish().unwrap();
        let refused = add(&home, &path).map(|m| m.name);
        assert_eq!(refused.map_err(|e| e.kind()), Err(ErrorKind::Invalid), "{name}");
    }
    let path = dir.path().join("link.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    zip.add_symlink("model/am", "/etc", SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap();
    assert_eq!(add(&home, &path).unwrap_err().kind(), ErrorKind::Invalid);

    assert!(!dir.path().join("outside").exists() && !Path::new("/tmp/beep-outside").exists());
    nothing_left_of(&home);
}

/// Damages a copy of the model and gives the error of adding it and of opening it where it lies.
fn broken(damage: impl Fn(&Path)) -> Option<(Error, Error)> {
    crate::speech_support::digits(1)?; // so that libvosk is loaded, and adding tries the model
    let (dir, home) = empty();
    let given = dir.path().join("broken");
    copy_model(&given);
    damage(&given);
    let added = add(&home, &given).unwrap_err();
    nothing_left_of(&home);
    let placed = home.dir().join("models/broken");
    copy_model(&placed);
    damage(&placed);
    let lib = crate::speech_support::library();
    let options = VoskOptions { model: Some("broken".to_owned()), lib, threads: 1 };
    Some((added, VoskTranscriber::open(&home, options).unwrap_err()))
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn broken_models_are_errors() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("am/final.mdl", |m| fs::write(m.join("am/final.mdl"), "").unwrap()),
        ("libvosk refused it", |m| cut(&m.join("am/final.mdl"))),
        ("conf/mfcc.conf", |m| fs::remove_file(m.join("conf/mfcc.conf")).unwrap()),
        ("conf/model.conf", |m| fs::remove_file(m.join("conf/model.conf")).unwrap()),
        ("libvosk refused it", |m| cut(&m.join("graph/HCLr.fst"))),
        ("graph/Gr.fst", |m| fs::remove_file(m.join("graph/Gr.fst")).unwrap()),
    ];
    for (what, damage) in damages {
        let Some((added, opened)) = broken(damage) else { return };
        for error in [added, opened] {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}");
            assert!(error.to_string().contains(what), "{what}: {error}");
        }
    }
}

#[test]
fn what_is_no_model_is_refused() {
    let (dir, home) = empty();
    fs::create_dir(dir.path().join("photos")).unwrap();
    fs::write(dir.path().join("photos/cat.zip"), "meow").unwrap();
    assert_eq!(add(&home, &dir.path().join("photos")).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(add(&home, &dir.path().join("photos/cat.zip")).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(add(&home, &dir.path().join("nowhere")).unwrap_err().kind(), ErrorKind::NotFound);
    copy_model(&dir.path().join("in/model-digits"));
    assert_eq!(add(&home, &dir.path().join("in")).unwrap_err().kind(), ErrorKind::Conflict);
    copy_model(&dir.path().join("two/a model with spaces"));
    assert_eq!(add(&home, &dir.path().join("two")).unwrap_err().kind(), ErrorKind::Invalid);
    nothing_left_of(&home);
}
