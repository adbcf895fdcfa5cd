//! What a backup looks like: a tar, packed with gzip. It begins with a head and ends with the checksums of all that is
//! in it, so that one that was cut off or changed is told from a whole one.

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};
use tercel_store::passphrase;

pub const FORMAT: u32 = 1;
/// The embedded database, or a copy of a PostgreSQL one.
pub const DATABASE: &str = "database.db";
pub const COPY: &str = "database.copy";
/// What belongs to the data besides the database, if it is there.
pub const DIRECTORIES: [&str; 5] = ["attachments", "bots", "integrations", "state", "workspace"];
const HEAD: &str = "tercel-backup.json";
const LIST: &str = "checksums.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    pub format: u32,
    /// The version that made it.
    pub tercel: String,
    pub schema: i64,
    pub made_at: String,
    /// What opens the secrets, sealed to a passphrase; absent when they were left out.
    pub key: Option<passphrase::Sealed>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    path: String,
    size: u64,
    sha256: String,
}

/// The file of the database is named as it is to be in the archive.
pub fn write(out: impl Write, head: &Head, database: &Path, data: &Path) -> Result<()> {
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::fast()));
    let mut list = Vec::new();
    let text = serde_json::to_vec_pretty(head)?;
    list.push(append(&mut tar, HEAD, 0o600, text.len() as u64, &text[..])?);
    let file = File::open(database)?;
    let name = if database.ends_with(COPY) { COPY } else { DATABASE };
    list.push(append(&mut tar, name, 0o600, file.metadata()?.len(), file)?);
    for directory in DIRECTORIES {
        for path in files(&data.join(directory))? {
            let name = path.strip_prefix(data).context("It is below the data")?.to_string_lossy().into_owned();
            // Copied first: it may be written at this moment, and its size must not change on the way.
            let mut copy = tempfile::tempfile_in(data)?;
            let mode = match File::open(&path).and_then(|mut file| {
                io::copy(&mut file, &mut copy)?;
                file.metadata()
            }) {
                Ok(metadata) => metadata.permissions().mode() & 0o700,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
            };
            copy.rewind()?;
            list.push(append(&mut tar, &name, mode, copy.metadata()?.len(), copy)?);
        }
    }
    let text = serde_json::to_vec_pretty(&list)?;
    append(&mut tar, LIST, 0o600, text.len() as u64, &text[..])?;
    tar.into_inner()?.finish()?;
    Ok(())
}

/// Reads all of a backup, gives each file besides the head to `take`, and checks everything. What was taken is worth
/// nothing if this fails.
///
/// # Errors
/// For what is no backup, is damaged, is not complete, or has in it what no backup has.
pub fn read(from: impl Read, mut take: impl FnMut(&Head, &Path, u32, &mut dyn Read) -> Result<()>) -> Result<Head> {
    let mut tar = tar::Archive::new(GzDecoder::new(from));
    let mut head: Option<Head> = None;
    let (mut found, mut list) = (Vec::new(), None::<Vec<Listed>>);
    for entry in tar.entries()? {
        let mut entry = entry?;
        ensure!(list.is_none(), "something stands behind its end");
        ensure!(entry.header().entry_type().is_file(), "something in it is no file");
        let path = entry.path()?.into_owned();
        let name = path.to_str().context("a name in it cannot be read")?.to_owned();
        let mode = entry.header().mode()?;
        let mut hashed = Hashed::of(&mut entry);
        match &head {
            None => {
                ensure!(name == HEAD, "it is no backup of Tercel");
                let read: Head = serde_json::from_reader(&mut hashed).context("it is no backup of Tercel")?;
                ensure!(read.format == FORMAT, "it was made by a newer Tercel ({})", read.tercel);
                head = Some(read);
            }
            Some(_) if name == LIST => {
                list = Some(serde_json::from_reader(&mut hashed)?);
                continue;
            }
            Some(head) => {
                ensure!(is_expected(&path), "`{name}` does not belong into a backup");
                take(head, &path, mode, &mut hashed)?;
            }
        }
        let (size, sha256) = hashed.end()?;
        found.push(Listed { path: name, size, sha256 });
    }
    // To the last byte: the checksum of gzip stands there.
    io::copy(&mut tar.into_inner(), &mut io::sink())?;
    let (Some(head), Some(list)) = (head, list) else { bail!("its end is missing") };
    if let Some(wrong) = found.iter().zip(&list).find_map(|(found, listed)| (found != listed).then_some(&listed.path)) {
        bail!("`{wrong}` was changed");
    }
    let databases = list.iter().filter(|file| [DATABASE, COPY].contains(&file.path.as_str())).count();
    ensure!(found.len() == list.len() && databases == 1, "something in it is missing");
    Ok(head)
}

fn is_expected(path: &Path) -> bool {
    let mut parts = path.components();
    let Some(Component::Normal(first)) = parts.next() else { return false };
    if path == Path::new(DATABASE) || path == Path::new(COPY) {
        return true;
    }
    let below: Vec<Component> = parts.collect();
    DIRECTORIES.iter().any(|name| first == *name)
        && !below.is_empty()
        && below.iter().all(|part| matches!(part, Component::Normal(_)))
}

/// Everything below a directory that is a file, in order.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", directory.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        } else {
            tracing::warn!("{} is no file and is not in the backup", entry.path().display());
        }
    }
    found.sort();
    Ok(found)
}

fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, mode: u32, size: u64, from: impl Read) -> Result<Listed> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    let mut hashed = Hashed::of(from);
    tar.append_data(&mut header, name, &mut hashed)?;
    let (read, sha256) = hashed.end()?;
    ensure!(read == size, "{name} changed while it was packed");
    Ok(Listed { path: name.into(), size, sha256 })
}

struct Hashed<R> {
    from: R,
    hash: Sha256,
    size: u64,
}

impl<R: Read> Hashed<R> {
    fn of(from: R) -> Self {
        Self { from, hash: Sha256::new(), size: 0 }
    }

    /// Size and checksum, after the rest is read.
    fn end(mut self) -> io::Result<(u64, String)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.size, hex::encode(self.hash.finalize())))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Vec<u8> {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        fs::create_dir_all(data.join("state/forge/deep")).unwrap();
        fs::write(data.join("state/forge/deep/cursor"), "7").unwrap();
        fs::write(data.join("key"), "secret").unwrap();
        let database = place.path().join("copy");
        fs::write(&database, "pages ".repeat(10_000)).unwrap();
        let head = Head { format: FORMAT, tercel: "1".into(), schema: 1, made_at: String::new(), key: None };
        let mut out = Vec::new();
        write(&mut out, &head, &database, &data).unwrap();
        out
    }

    fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut unpacked = Vec::new();
        GzDecoder::new(bytes).read_to_end(&mut unpacked).ok().map(|_| unpacked)
    }

    fn check(bytes: &[u8]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        read(bytes, |_, path, _, _| {
            names.push(path.display().to_string());
            Ok(())
        })?;
        Ok(names)
    }

    #[test]
    fn a_backup_has_the_data_and_not_the_key() {
        assert_eq!(check(&packed()).unwrap(), ["database.db", "state/forge/deep/cursor"]);
    }

    #[test]
    fn one_that_was_cut_off_anywhere_is_refused() {
        let whole = packed();
        for end in 0..whole.len() {
            assert!(check(&whole[..end]).is_err(), "cut off after {end} of {} bytes", whole.len());
        }
    }

    #[test]
    fn one_with_a_changed_bit_is_refused() {
        let whole = packed();
        // The first bytes are gzip's own: its name for the system, the time, which nobody reads.
        for at in (10..whole.len()).step_by(3) {
            let mut changed = whole.clone();
            changed[at] ^= 4;
            // Another way to say the same bytes is no damage.
            let same = unpacked(&changed).is_some_and(|bytes| Some(bytes) == unpacked(&whole));
            assert!(same || check(&changed).is_err(), "a bit of byte {at} was changed");
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["../evil", "/etc/passwd", "state/../../evil", "key", "state", "other/file", "tercel.db"] {
            assert!(!is_expected(Path::new(name)), "{name}");
        }
        assert!(is_expected(Path::new("state/a/b")) && is_expected(Path::new("database.db")));
    }
}
