//! `tercel backup`, `tercel restore`: everything in one file, and back.

use super::{client, terminal::say};
use crate::{backup::restore, config::Config};
use anyhow::{Context, Result, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::{
    fs::{self, File, OpenOptions},
    io::{IsTerminal, Write, stderr, stdin},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use tercel_store::copies;

#[derive(Args)]
pub struct Make {
    /// The file to write; one that is there is replaced when the new one is whole
    file: PathBuf,
    /// A file with the passphrase in its first line, `-`: the standard input (else TERCEL_BACKUP_PASSPHRASE)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Leave secrets out: they have to be entered again after a restore
    #[arg(long, conflicts_with = "passphrase_file")]
    without_secrets: bool,
}

#[derive(Args)]
pub struct Restore {
    /// A file that `tercel backup` made
    file: PathBuf,
    /// A file with the passphrase in its first line, `-`: the standard input (else TERCEL_BACKUP_PASSPHRASE)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Do without the secrets in it: they have to be entered again
    #[arg(long, conflicts_with = "passphrase_file")]
    without_secrets: bool,
}

pub async fn make(config: Config, arguments: Make) -> Result<ExitCode> {
    let Make { file, passphrase_file, without_secrets } = arguments;
    let ask = match without_secrets {
        true => json!({"without_secrets": true}),
        false => {
            let passphrase = passphrase(&config, passphrase_file.as_deref())?.context(
                "Secrets are sealed to a passphrase: set TERCEL_BACKUP_PASSPHRASE or give --passphrase-file. \
                 --without-secrets leaves them out",
            )?;
            json!({"passphrase": passphrase.expose_secret()})
        }
    };
    if config.database_url.is_none() && !config.data_dir.join("tercel.db").exists() {
        bail!("There is nothing in {} to make a backup of", config.data_dir.display());
    }
    let draft = draft(&file)?;
    let client = client::open(config).await?;
    let made = download(&client, &ask, &file, &draft).await;
    client.close().await;
    if made.is_err() {
        let _ = fs::remove_file(&draft);
    }
    let bytes = made?;
    say(&format!("{}: {}, verified", file.display(), size(bytes)))?;
    say(match without_secrets {
        true => "Secrets are not in it: after a restore they have to be entered again",
        false => "Secrets are in it, sealed to the passphrase: without it they cannot be read",
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn restore(config: Config, arguments: Restore) -> Result<ExitCode> {
    let Restore { file, passphrase_file, without_secrets } = arguments;
    let data = &config.data_dir;
    if copies::is_copy(&file) {
        restore::copy(&file, data, config.database_url.as_ref()).await?;
        say("Restored the database. The server starts held: runs and answers wait until `tercel resume`")?;
        return Ok(ExitCode::SUCCESS);
    }
    restore::refuse_used(data)?;
    let head = restore::verify(&file)?;
    let key = match (&head.key, without_secrets) {
        (None, _) | (_, true) => None,
        (Some(_), false) => {
            let passphrase = passphrase(&config, passphrase_file.as_deref())?.context(
                "The secrets in it are sealed to a passphrase: set TERCEL_BACKUP_PASSPHRASE or give --passphrase-file. \
                 --without-secrets does without them",
            )?;
            restore::key(&head, &passphrase)?
        }
    };
    if let (Some(own), Some(key)) = (&config.encryption_key, &key)
        && own.expose_secret().trim() != key.expose_secret()
    {
        bail!(
            "ENCRYPTION_KEY is not the key of this backup, so that its secrets could not be opened: unset it, or set that one"
        );
    }
    let needed = restore::extract(&file, data, key.as_ref(), config.database_url.as_ref()).await?;
    say(&format!("Restored the backup of {} into {}", head.made_at, data.display()))?;
    if !needed.is_empty() {
        say("Secrets were left out. Nothing leaves that needs one of them; enter again those of")?;
        needed.iter().try_for_each(|line| say(&format!("  {line}")))?;
    }
    say("The server starts held: runs and answers wait until `tercel resume`")?;
    Ok(ExitCode::SUCCESS)
}

/// Answers the bytes of a backup that is in its place, checked and safe on the disk.
async fn download(client: &client::Client, ask: &serde_json::Value, file: &Path, draft: &Path) -> Result<u64> {
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(draft)
        .with_context(|| format!("{} cannot be written", draft.display()))?;
    let mut progress = Progress::start("Copying the database");
    let mut bytes = 0;
    client
        .download("/api/v1/backup", ask, |piece| {
            out.write_all(piece).with_context(|| format!("{} cannot be written", draft.display()))?;
            bytes += piece.len() as u64;
            progress.show(|| format!("{} written", size(bytes)));
            Ok(())
        })
        .await?;
    out.sync_all()?;
    progress.show(|| "Checking it".into());
    restore::verify(draft)?;
    fs::rename(draft, file).with_context(|| format!("{} cannot be written", file.display()))?;
    if let Some(directory) = file.parent() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()?;
    }
    Ok(bytes)
}

/// Beside the file: a name for what is not whole yet.
fn draft(file: &Path) -> Result<PathBuf> {
    let Some(name) = file.file_name().filter(|_| !file.is_dir()) else {
        bail!("{} is a directory: name a file in it", file.display());
    };
    Ok(file.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id())))
}

fn passphrase(config: &Config, file: Option<&Path>) -> Result<Option<SecretString>> {
    let text = match file {
        None => return Ok(config.backup_passphrase.clone()),
        Some(file) if file == Path::new("-") => {
            let mut line = String::new();
            stdin().read_line(&mut line)?;
            line
        }
        Some(file) => fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?,
    };
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("The passphrase is empty");
    }
    Ok(Some(line.into()))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// What a person at a terminal sees meanwhile; nobody else does.
struct Progress {
    shown: Option<Instant>,
}

impl Progress {
    fn start(first: &str) -> Self {
        let mut progress = Self { shown: stderr().is_terminal().then(|| Instant::now() - Duration::from_secs(1)) };
        progress.show(|| first.into());
        progress
    }

    fn show(&mut self, text: impl FnOnce() -> String) {
        if let Some(shown) = &mut self.shown
            && shown.elapsed() > Duration::from_millis(200)
        {
            *shown = Instant::now();
            eprint!("\r\u{1b}[K{} …", text());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprint!("\r\u{1b}[K");
        }
    }
}
