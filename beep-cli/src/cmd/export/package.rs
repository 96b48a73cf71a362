//! A zip file or a folder that has its name only when everything is in it.

use crate::failure::{Failure, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Something to put files into.
pub struct Package {
    form: Form,
    path: PathBuf,
}

enum Form {
    Zip(Box<ZipWriter<NamedTempFile>>),
    Folder(TempDir),
}

impl Package {
    /// Begins one beside where it is to be: only there a rename makes it appear all at once.
    pub fn begin(path: &Path) -> Result<Self> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Failure::new("exists", format!("{} is there already", path.display()))
                .hint("say another name, or remove it first"));
        }
        let beside = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let begun = builder.prefix(".beep-export-");
        let zipped = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("zip"));
        let form = if zipped {
            begun.tempfile_in(beside).map(|file| Form::Zip(Box::new(ZipWriter::new(file))))
        } else {
            begun.tempdir_in(beside).map(Form::Folder)
        };
        Ok(Self { form: form.map_err(|e| Failure::io("write in", beside, &e))?, path: path.to_owned() })
    }

    /// Adds a file; folders in its name are made.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.form {
            Form::Zip(zip) => {
                // Recordings are compressed already.
                let method = if name.contains(".json") {
                    CompressionMethod::Deflated
                } else {
                    CompressionMethod::Stored
                };
                let options = SimpleFileOptions::default().compression_method(method).unix_permissions(0o600);
                zip.start_file(name, options).map_err(io::Error::from).and_then(|()| zip.write_all(bytes))
            }
            Form::Folder(dir) => write(&dir.path().join(name), bytes),
        };
        written.map_err(|e| Failure::io("write", &self.path, &e))
    }

    /// Everything is in it: makes it durable and gives it its name.
    pub fn close(self) -> Result<()> {
        let Self { form, path } = self;
        let closed = match form {
            Form::Zip(zip) => zip.finish().map_err(io::Error::from).and_then(|file| {
                file.as_file().sync_all()?;
                file.persist_noclobber(&path).map(drop).map_err(io::Error::from)
            }),
            Form::Folder(dir) => fs::rename(dir.path(), &path).map(|()| drop(dir.keep())),
        };
        closed.map_err(|e| Failure::io("finish", &path, &e))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
