//! Files that a configuration names: read with it, and known again by what stood in them.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::base::limits::NAMED_FILE_BYTES_MAX;

/// A file as it was when it was read.
#[derive(Debug)]
pub(super) struct NamedFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What stood in it.
    pub(super) text: String,
}

/// How a file is known again: a number that is another one once it holds something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePrint {
    /// Where it is.
    pub path: PathBuf,
    /// The number.
    pub print: u64,
}

impl NamedFile {
    /// How it is known again.
    pub(super) fn print(&self) -> FilePrint {
        FilePrint { path: self.path.clone(), print: print_of(self.text.as_bytes()) }
    }
}

fn print_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The print of the file at `path`, none where it cannot be read.
pub fn print_at(path: &Path) -> Option<u64> {
    bytes_of(path).ok().map(|bytes| print_of(&bytes))
}

/// Reads the file that `name` stands for in the configuration `within`: from its folder, if the name is no whole path. The
/// error says why it cannot be read.
pub(super) fn read_named(within: &str, name: &str) -> Result<NamedFile, String> {
    let folder = Path::new(within).parent().unwrap_or(Path::new(""));
    let path = folder.join(name);
    let told = |why: String| format!("{}: {why}", path.display());
    let bytes = bytes_of(&path).map_err(|error| told(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| told("it is not UTF-8".to_owned()))?;
    Ok(NamedFile { path, text })
}

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for, a device may have no end.
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(NAMED_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > NAMED_FILE_BYTES_MAX {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}
