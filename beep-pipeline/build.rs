//! Lets `-lvosk` succeed without libvosk: the symbols come from `transcriber::libvosk`, which opens it at run time.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_TRANSCRIBE_VOSK").is_none() {
        return Ok(());
    }
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    let msvc = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|e| e == "msvc");
    // An archive without members: the linker finds the library it was asked for, and nothing in it.
    fs::write(out.join(if msvc { "vosk.lib" } else { "libvosk.a" }), b"!<arch>\n")?;
    println!("cargo::rustc-link-search=native={}", out.display());
    Ok(())
}
