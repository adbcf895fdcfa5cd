//! Making a data directory out of a backup. Everything is checked before anything is written.

use super::archive::{self, Head};
use crate::hold;
use anyhow::{Context, Result, bail, ensure};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};
use tercel_store::{
    DirectoryLock, Sealer,
    copies::{self, Secrets},
    passphrase, snapshot,
};

/// Where files lie until all of them are there.
const DRAFT: &str = "restore.tmp";

/// Reads all of it and checks it.
///
/// # Errors
/// Says what is wrong with the file.
pub fn verify(file: &Path) -> Result<Head> {
    let head = archive::read(open(file)?, |_, _, _, _| Ok(()))
        .map_err(|error| anyhow::anyhow!("The backup {} cannot be used: {error:#}", file.display()))?;
    let newest = snapshot::newest_schema();
    if head.schema > newest {
        bail!(
            "The backup {} has schema {}, made by Tercel {}; this is Tercel {}, which knows schemas up to {newest}. Restore \
             it with that version or a later one",
            file.display(),
            head.schema,
            head.tercel,
            env!("CARGO_PKG_VERSION")
        );
    }
    Ok(head)
}

/// # Errors
/// When there is anything in the directory.
pub fn refuse_used(data: &Path) -> Result<()> {
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", data.display())),
    };
    for entry in entries {
        let name = entry?.file_name();
        // What a restore that was broken off left behind.
        ensure!(
            name == DRAFT || name == "lock",
            "There is something in {} already (`{}`). A backup is restored into an empty directory: --data-dir names another",
            data.display(),
            name.to_string_lossy()
        );
    }
    Ok(())
}

/// The key that opens the secrets.
///
/// # Errors
/// For a wrong passphrase.
pub fn key(head: &Head, passphrase: &SecretString) -> Result<Option<SecretString>> {
    let Some(sealed) = &head.key else { return Ok(None) };
    let key = passphrase::open(passphrase.expose_secret(), sealed)?;
    Ok(Some(SecretString::from(key.as_str())))
}

/// Brings the copy that was made before a migration into an empty database. The server that starts on it is held.
pub async fn copy(file: &Path, data: &Path, address: Option<&SecretString>) -> Result<()> {
    let address = address.context("This is a copy of a PostgreSQL database: set DATABASE_URL to an empty one")?;
    let _lock = DirectoryLock::take(data)?;
    let was_held = data.join(hold::FILE).exists();
    hold::write(data, &format!("Its database was restored from {}", file.display()))?;
    let restored = copies::restore(address, file, Secrets::Kept).await;
    if restored.is_err() && !was_held {
        fs::remove_file(data.join(hold::FILE))?;
    }
    restored?;
    Ok(())
}

/// Writes a backup that was verified into an empty directory and, if it is of PostgreSQL, into the empty database at the
/// address. The server that starts on it is held. Answers what needs its secrets again, a line each.
pub async fn extract(
    file: &Path,
    data: &Path,
    key: Option<&SecretString>,
    address: Option<&SecretString>,
) -> Result<Vec<String>> {
    let _lock = DirectoryLock::take(data)?;
    refuse_used(data)?;
    let draft = data.join(DRAFT);
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    private_directory(&draft)?;
    let head = archive::read(open(file)?, |_, path, mode, from| write(&draft.join(path), mode | 0o600, from))?;
    let (database, copy) = (draft.join(archive::DATABASE), draft.join(archive::COPY));
    let copy = match (copy.exists(), address) {
        (false, None) => None,
        (true, Some(address)) => Some((copy, address)),
        (false, Some(_)) => bail!("DATABASE_URL is set, and this backup is of a SQLite database: unset it"),
        (true, None) => {
            bail!("This backup is of a PostgreSQL database: set DATABASE_URL to the address of an empty one")
        }
    };
    // What was left out stays so, whatever key a server has now.
    let secrets = if key.is_none() { Secrets::LeftOut } else { Secrets::Kept };
    if copy.is_none() {
        snapshot::check(&database).await?;
        if secrets == Secrets::LeftOut {
            snapshot::remove_secrets(&database).await?;
        }
    }
    if let Some(key) = key {
        write(&draft.join("key"), 0o600, &mut key.expose_secret().as_bytes())?;
        Sealer::from_file(&draft.join("key"))?.check_directory(&draft)?;
    }
    let reason = format!("It was restored from a backup of {}", head.made_at);
    hold::write(&draft, &reason)?;
    sync(&draft)?;
    // What holds the server back comes first, the database last: without it there is nothing yet.
    for name in [hold::FILE, "key", "key.id"].into_iter().chain(archive::DIRECTORIES) {
        if draft.join(name).exists() {
            fs::rename(draft.join(name), data.join(name))?;
        }
    }
    File::open(data)?.sync_all()?;
    let needed = match copy {
        None => {
            let needed = snapshot::needed_secrets(&database).await?;
            fs::rename(&database, data.join("tercel.db"))?;
            needed
        }
        Some((copy, address)) => match copies::restore(address, &copy, secrets).await {
            Ok(needed) => {
                fs::remove_file(copy)?;
                needed
            }
            Err(error) => {
                // For another try.
                for name in [DRAFT, hold::FILE, "key", "key.id"].into_iter().chain(archive::DIRECTORIES) {
                    let path = data.join(name);
                    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                }
                return Err(error.into());
            }
        },
    };
    fs::remove_dir(&draft)?;
    File::open(data)?.sync_all()?;
    Ok(needed)
}

fn open(file: &Path) -> Result<impl Read> {
    let opened = File::open(file).with_context(|| format!("The backup {} cannot be read", file.display()))?;
    Ok(io::BufReader::with_capacity(1 << 18, opened))
}

fn write(path: &Path, mode: u32, from: &mut dyn Read) -> Result<()> {
    let mut write = || {
        if let Some(parent) = path.parent() {
            private_directory(parent)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        io::copy(from, &mut file)?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Names of files last only once their directories are on the disk.
fn sync(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        }
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(place: &Path, schema: i64, database: &[u8]) -> std::path::PathBuf {
        let copy = place.join("copy");
        fs::write(&copy, database).unwrap();
        let head = Head { format: archive::FORMAT, tercel: "9.9.9".into(), schema, made_at: "then".into(), key: None };
        let file = place.join("backup");
        archive::write(File::create(&file).unwrap(), &head, &copy, &place.join("none")).unwrap();
        file
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused_with_the_version_that_is_needed() {
        let place = tempfile::tempdir().unwrap();
        let newest = snapshot::newest_schema();
        let said = verify(&made(place.path(), newest + 1, b"")).unwrap_err().to_string();
        assert!(said.contains("9.9.9") && said.contains(&(newest + 1).to_string()), "{said}");
        assert_eq!(verify(&made(place.path(), newest, b"")).unwrap().made_at, "then");
    }

    #[tokio::test]
    async fn a_database_that_is_none_leaves_no_data_directory_that_a_server_would_take() {
        let place = tempfile::tempdir().unwrap();
        let (file, data) = (made(place.path(), 1, "no pages ".repeat(1000).as_bytes()), place.path().join("data"));
        assert!(extract(&file, &data, None, None).await.is_err());
        assert!(!data.join("tercel.db").exists());
        // What it left behind does not stand in the way of another try.
        refuse_used(&data).unwrap();
        fs::write(data.join("bots"), "").unwrap();
        assert!(refuse_used(&data).unwrap_err().to_string().contains("--data-dir"));
    }
}
