//! Fetches libvosk with the machine's own pip, checks it to the byte, and unpacks the bundled model.
//!
//! pip is used since the library is published as a Python wheel and pip knows the user's mirror and proxy; no Python is
//! needed afterwards. No host is named here.

use super::bundled;
use super::home::{ModelInfo, SpeechHome, cannot};
use beep_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The wheel with libvosk for one platform.
struct Wheel {
    version: &'static str,
    /// SHA-256 of the wheel, which pip checks.
    sha256: &'static str,
    /// The library inside, and its SHA-256.
    member: &'static str,
    library: &'static str,
}

/// The wheel for the machine this was compiled for.
fn wheel() -> Option<Wheel> {
    let (version, sha256, member, library) = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => (
            "0.3.45",
            "25e025093c4399d7278f543568ed8cc5460ac3a4bf48c23673ace1e25d26619f",
            "vosk/libvosk.so",
            "85c4654de3acdeb99abab86eeb2a6e603927d37089597c0fcc33d8638dc2ccaf",
        ),
        ("linux", "aarch64") => (
            "0.3.45",
            "54efb47dd890e544e9e20f0316413acec7f8680d04ec095c6140ab4e70262704",
            "vosk/libvosk.so",
            "0e9df29f060a93cf3df3263a4d3635e1b75688a5fd84e86ade1599372e3c9597",
        ),
        ("linux", "arm") => (
            "0.3.45",
            "4221f83287eefe5abbe54fc6f1da5774e9e3ffcbbdca1705a466b341093b072e",
            "vosk/libvosk.so",
            "50e9e705777774ce3f33636939c10cfa2c27d2d2c6441466146f35dacd4e9be4",
        ),
        ("macos", _) => (
            "0.3.44",
            "029d0b3d6a5cff874c575b8a5814a4cccfb37608cff52e846c02a8c67a882801",
            "vosk/libvosk.dyld",
            "82fdfba0dde392a7dbba70f9c1a17f6e3da27a50444a9f53939508525a1e6fdf",
        ),
        _ => return None,
    };
    Some(Wheel { version, sha256, member, library })
}

/// What [`install`] leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The native library.
    pub library: PathBuf,
    /// The bundled model.
    pub model: ModelInfo,
    /// Whether anything had to be done; an installed folder is left alone.
    pub changed: bool,
}

/// Puts libvosk and the bundled model into the speech folder. Blocks; needs pip and its index once.
///
/// * Every byte is checked against hashes in this program: the wheel by pip, the library before it is put in place.
/// * Files appear under their names complete or not at all.
/// * Done twice, or by two processes at once, it does its work once. A damaged library is replaced.
/// * `progress` is told in sentences what takes time.
pub fn install(home: &SpeechHome, progress: &mut dyn FnMut(&str)) -> Result<Installed> {
    let wheel = wheel().ok_or_else(|| {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        Error::new(
            ErrorKind::Unsupported,
            format!("no libvosk is published for {os} on {arch}; build it and set VOSK_LIB to its file"),
        )
    })?;
    let unpacked = bundled::unpack(home)?;
    let model = bundled::info(home);
    if unpacked {
        progress(&format!("model {} is in {}", model.name, model.path.display()));
    }
    let library = home.library();
    if hash(&library).is_ok_and(|found| found == wheel.library) {
        return Ok(Installed { library, model, changed: unpacked });
    }
    let _lock = home.lock()?;
    // Whoever held the lock may have done the work meanwhile.
    if !hash(&library).is_ok_and(|found| found == wheel.library) {
        let scratch = home.scratch()?;
        let archive = download(&wheel, scratch.path(), progress)?;
        let fresh = scratch.path().join("library");
        extract(&archive, wheel.member, &fresh)?;
        let found = hash(&fresh).map_err(|e| cannot("read", &fresh, e))?;
        if found != wheel.library {
            return Err(Error::new(ErrorKind::Corrupt, "the downloaded libvosk is not the one Beep knows")
                .with("expected", wheel.library)
                .with("found", found));
        }
        put(&fresh, &library)?;
        progress(&format!("libvosk {} is checked and in {}", wheel.version, library.display()));
    }
    Ok(Installed { library, model, changed: true })
}

/// Renames the file into place, durably.
fn put(fresh: &Path, library: &Path) -> Result<()> {
    let folder = library.parent().unwrap_or(library);
    fs::create_dir_all(folder).map_err(|e| cannot("make", folder, e))?;
    File::open(fresh)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(fresh, library))
        .map_err(|e| cannot("write", library, e))
}

/// Has pip fetch the wheel into the folder, with the first pip that works.
fn download(wheel: &Wheel, into: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let list = into.join("requirements.txt");
    fs::write(&list, format!("vosk=={} --hash=sha256:{}\n", wheel.version, wheel.sha256))
        .map_err(|e| cannot("write", &list, e))?;
    let mut failures = String::new();
    for (program, first) in
        [("python3", &["-m", "pip"][..]), ("pip3", &[]), ("pip", &[]), ("python", &["-m", "pip"])]
    {
        let name = [&[program], first].concat().join(" ");
        progress(&format!("downloading libvosk {} (7 to 12 MB) with {name}", wheel.version));
        let ran = Command::new(program)
            .args(first)
            .args(["download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary=:all:", "--require-hashes"])
            .args([OsStr::new("--dest"), into.as_os_str(), OsStr::new("--requirement"), list.as_os_str()])
            .output();
        match ran {
            Ok(out) if out.status.success() => return wheel_in(into),
            Ok(out) => failures += &format!("\n  {name}: {}", last_line(&out.stderr)),
            Err(e) => failures += &format!("\n  {name}: {e}"),
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!(
            "libvosk could not be downloaded; install pip and see that its index can be reached, \
             or set VOSK_LIB to a libvosk of your own; tried:{failures}"
        ),
    ))
}

/// What pip finally said.
fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().rev().map(str::trim).filter(|l| !l.is_empty());
    lines.clone().find(|l| l.starts_with("ERROR")).or_else(|| lines.next()).unwrap_or("failed").to_owned()
}

fn wheel_in(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|e| cannot("list", folder, e))?;
    entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| Error::new(ErrorKind::Internal, "pip said it was done but left no wheel"))
}

/// Takes one file out of a zip archive.
fn extract(archive: &Path, member: &str, to: &Path) -> Result<()> {
    let broken = |e: zip::result::ZipError| {
        Error::new(ErrorKind::Corrupt, format!("cannot take {member} out of {}", archive.display()))
            .with_source(e)
    };
    let file = File::open(archive).map_err(|e| cannot("read", archive, e))?;
    let mut zip = zip::ZipArchive::new(io::BufReader::new(file)).map_err(broken)?;
    let mut from = zip.by_name(member).map_err(broken)?;
    let mut out = File::create(to).map_err(|e| cannot("write", to, e))?;
    io::copy(&mut from, &mut out).and_then(|_| out.flush()).map_err(|e| cannot("write", to, e))
}

/// SHA-256 of a file in hexadecimal.
fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            n => hasher.update(&buffer[..n]),
        }
    }
}
