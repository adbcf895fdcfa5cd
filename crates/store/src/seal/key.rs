//! One key, and the files that keys are kept in.

use crate::{Error, Result, failpoint};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hkdf::Hkdf;
use sha2::Sha256;
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use zeroize::Zeroizing;

/// The key of a data directory, and the one before it while values may still be sealed with that.
pub const FILE: &str = "key";
pub const PREVIOUS: &str = "key.previous";

#[derive(Clone)]
pub struct Key {
    /// Tells it from others, and says nothing about it.
    pub id: String,
    pub cipher: XChaCha20Poly1305,
    /// What markers of posts were made with before there was a secret of their own for that.
    pub marker: Zeroizing<[u8; 32]>,
}

impl Key {
    pub fn new(key: &[u8; 32]) -> Self {
        let derive = |purpose: &[u8]| {
            let mut out = Zeroizing::new([0; 32]);
            Hkdf::<Sha256>::new(None, key).expand(purpose, out.as_mut()).expect("32 bytes are a valid length");
            out
        };
        let id = hex::encode(&derive(b"tercel key id")[..4]);
        Self { id, cipher: XChaCha20Poly1305::new((&*derive(b"tercel seal")).into()), marker: derive(b"tercel marker") }
    }

    /// Takes 64 hex digits.
    pub fn from_hex(name: &str, text: &str) -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut())
            .map_err(|_| Error::Unusable(format!("{name} must be 64 hex digits; `openssl rand -hex 32` makes one")))?;
        Ok(Self::new(&key))
    }

    /// Reads a key file; `None` when there is none.
    pub fn from_file(file: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(file) {
            Ok(text) => match Self::from_hex(FILE, &text) {
                Ok(key) => Ok(Some(key)),
                Err(_) => {
                    let message = format!("The key file {} does not hold 64 hex digits", file.display());
                    Err(Error::Unusable(message))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(file, &error)),
        }
    }

    /// Makes a key and puts it into a file.
    pub fn make(file: &Path) -> Result<Self> {
        let key = Zeroizing::new(rand::random::<[u8; 32]>());
        put(file, hex::encode(*key).as_bytes()).map_err(|error| failed(file, &error))?;
        Ok(Self::new(&key))
    }
}

/// Puts a new key into a directory and keeps the one before it beside it. A process that dies in between leaves a directory
/// with the earlier key, or with both.
pub fn replace(directory: &Path) -> Result<Key> {
    let (file, previous) = (directory.join(FILE), directory.join(PREVIOUS));
    let before = fs::read(&file).map(Zeroizing::new).map_err(|error| failed(&file, &error))?;
    put(&previous, &before).map_err(|error| failed(&previous, &error))?;
    failpoint::hit("seal.previous");
    let made = Key::make(&file)?;
    failpoint::hit("seal.key");
    Ok(made)
}

/// Forgets the key before this one.
pub fn forget_previous(directory: &Path) -> Result<()> {
    let previous = directory.join(PREVIOUS);
    match fs::remove_file(&previous).and_then(|()| fs::File::open(directory)?.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&previous, &error)),
        _ => Ok(()),
    }
}

fn failed(file: &Path, error: &io::Error) -> Error {
    Error::Unusable(format!("The key file {}: {error}", file.display()))
}

/// Under another name first: a key that is half written would lose every secret sealed with it.
fn put(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = file.with_extension("new");
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    out.write_all(bytes).and_then(|()| out.sync_all())?;
    fs::rename(&draft, file)?;
    match file.parent() {
        Some(directory) => fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
