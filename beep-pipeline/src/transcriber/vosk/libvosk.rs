//! The C functions that the `vosk` crate links, forwarded to a libvosk opened at run time.
//!
//! `vosk-sys` asks the linker for `-lvosk`. `build.rs` answers with an empty archive and this file has the symbols, so
//! Beep builds, starts and says what is missing on a machine without libvosk. This is the one file of the pipeline
//! with `unsafe` in it.
#![allow(unsafe_code)]

use super::home::SpeechHome;
use beep_core::{Error, ErrorKind, Result};
use std::env;
use std::ffi::{c_char, c_float, c_int, c_short, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::{Mutex, OnceLock, PoisonError};

type Handle = *mut c_void;
type Text = *const c_char;

/// What a result is while no library is loaded: valid JSON that every kind of result can be read from.
const NOTHING: &std::ffi::CStr = c"{\"text\":\"\"}";

macro_rules! forward {
    ($( fn $name:ident( $($arg:ident : $type:ty),* ) -> $ret:ty = $unloaded:expr; )*) => {
        struct Symbols {
            $( $name: unsafe extern "C" fn($($type),*) -> $ret, )*
            /// Keeps the code mapped for as long as anything can call it: for ever.
            _library: libloading::Library,
        }

        impl Symbols {
            /// # Safety
            /// The file must be libvosk, since its functions are believed to have these signatures.
            unsafe fn open(file: &Path) -> Result<Self, libloading::Error> {
                // SAFETY: libvosk's constructors only fill its own tables; the caller vouches for the file.
                let library = unsafe { libloading::Library::new(file)? };
                Ok(Self {
                    // SAFETY: the signatures are those of vosk_api.h 0.3.45, and the library outlives the pointers.
                    $( $name: unsafe { *library.get(concat!(stringify!($name), "\0").as_bytes())? }, )*
                    _library: library,
                })
            }
        }

        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
                match SYMBOLS.get() {
                    // SAFETY: the same function with the same arguments, whose validity the caller vouches for.
                    Some((_, symbols)) => unsafe { (symbols.$name)($($arg),*) },
                    None => {
                        $( let _: $type = $arg; )*
                        $unloaded
                    }
                }
            }
        )*

        /// A mention of every forwarding function. [`load`] reads it, so whoever can load also carries the symbols
        /// that `vosk-sys` looks for, whatever order a linker visits the archives in.
        static EXPORTED: &[Export] = &[$( Export($name as *const ()) ),*];
    };
}

struct Export(*const ());
// SAFETY: an address of code, never read through.
unsafe impl Sync for Export {}

// Every function of vosk-sys 0.2 that vosk 0.3.1 calls without its `batch` feature; after `=`, the answer while no
// library is loaded, which the crate turns into `None` or `Failed`.
forward! {
    fn vosk_model_new(path: Text) -> Handle = null_mut();
    fn vosk_model_free(model: Handle) -> () = ();
    fn vosk_model_find_word(model: Handle, word: Text) -> c_int = -1;
    fn vosk_spk_model_new(path: Text) -> Handle = null_mut();
    fn vosk_spk_model_free(model: Handle) -> () = ();
    fn vosk_recognizer_new(model: Handle, rate: c_float) -> Handle = null_mut();
    fn vosk_recognizer_new_spk(model: Handle, rate: c_float, speaker: Handle) -> Handle = null_mut();
    fn vosk_recognizer_new_grm(model: Handle, rate: c_float, grammar: Text) -> Handle = null_mut();
    fn vosk_recognizer_set_spk_model(recognizer: Handle, speaker: Handle) -> () = ();
    fn vosk_recognizer_set_max_alternatives(recognizer: Handle, count: c_int) -> () = ();
    fn vosk_recognizer_set_words(recognizer: Handle, on: c_int) -> () = ();
    fn vosk_recognizer_set_partial_words(recognizer: Handle, on: c_int) -> () = ();
    fn vosk_recognizer_set_nlsml(recognizer: Handle, on: c_int) -> () = ();
    fn vosk_recognizer_accept_waveform_s(recognizer: Handle, data: *const c_short, len: c_int) -> c_int = -1;
    fn vosk_recognizer_result(recognizer: Handle) -> Text = NOTHING.as_ptr();
    fn vosk_recognizer_partial_result(recognizer: Handle) -> Text = NOTHING.as_ptr();
    fn vosk_recognizer_final_result(recognizer: Handle) -> Text = NOTHING.as_ptr();
    fn vosk_recognizer_reset(recognizer: Handle) -> () = ();
    fn vosk_recognizer_free(recognizer: Handle) -> () = ();
    fn vosk_set_log_level(level: c_int) -> () = ();
}

/// Set by the first load that works and never again; a load that failed can be tried again after an install.
static SYMBOLS: OnceLock<(PathBuf, Symbols)> = OnceLock::new();

/// What the library's file is called here.
pub(super) const FILE_NAME: &str = if cfg!(windows) {
    "libvosk.dll"
} else if cfg!(target_os = "macos") {
    "libvosk.dylib"
} else {
    "libvosk.so"
};

/// A file, or the library's file name in a folder.
fn in_folder(path: PathBuf) -> PathBuf {
    if path.is_dir() { path.join(FILE_NAME) } else { path }
}

/// Where libvosk may be, best first.
fn candidates(home: &SpeechHome) -> Vec<PathBuf> {
    let mut files = Vec::new();
    files.extend(env::var_os("VOSK_LIB").filter(|v| !v.is_empty()).map(|v| in_folder(v.into())));
    files.push(home.library());
    if let Some(dir) = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)) {
        files.extend(["", "lib", "../lib"].map(|sub| dir.join(sub).join(FILE_NAME)));
    }
    files.push(FILE_NAME.into()); // a bare name: the system's own search
    files
}

/// Opens libvosk, once per process, and returns the file it came from. Must precede every use of the `vosk` crate.
///
/// * `named` is a file, or a folder with the file in it, that somebody asked for: then nothing else is tried, since a
///   wrong setting must not be papered over by another library.
/// * Else the order is `$VOSK_LIB`, `<speech>/lib`, beside the program, its `lib`, its `../lib`, the system.
/// * A failure lists what was tried and can be tried again.
pub(super) fn load(home: &SpeechHome, named: Option<&Path>) -> Result<&'static Path> {
    static ATTEMPT: Mutex<()> = Mutex::new(());
    std::hint::black_box(EXPORTED.iter().map(|e| e.0).collect::<Vec<_>>());
    let _one_at_a_time = ATTEMPT.lock().unwrap_or_else(PoisonError::into_inner);

    let files = match named {
        Some(path) => vec![in_folder(path.to_path_buf())],
        None => candidates(home),
    };
    if let Some((loaded, _)) = SYMBOLS.get() {
        return match files.first().filter(|_| named.is_some()) {
            Some(file) if !same_file(file, loaded) => Err(other_library(file, loaded)),
            _ => Ok(loaded),
        };
    }
    let mut tried = String::new();
    for file in files {
        if file.components().count() > 1 && !file.exists() {
            tried += &format!("\n  {}: not there", file.display());
            continue;
        }
        // SAFETY: the file carries libvosk's name or was named as it by who runs Beep.
        match unsafe { Symbols::open(&file) } {
            Ok(symbols) => return Ok(&SYMBOLS.get_or_init(|| (file, symbols)).0),
            // The loader's own words are in the source: which file, symbol or architecture it missed.
            Err(e) => {
                let why = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
                tried += &format!("\n  {}: {why}", file.display());
            }
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("libvosk was not found; run `beep-cli speech install` or set VOSK_LIB; tried:{tried}"),
    ))
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn other_library(file: &Path, loaded: &Path) -> Error {
    let (kind, why) = if file.exists() {
        (ErrorKind::Unsupported, "a process keeps the libvosk it loaded first; restart it to use the other")
    } else {
        (
            ErrorKind::Unavailable,
            "no libvosk there; run `beep-cli speech install` or correct the setting; tried:",
        )
    };
    Error::new(kind, format!("{why}\n  {}", file.display())).with("loaded", loaded.display())
}
