//! Connection files, `<config>/integrations/<id>.yaml`. What somebody writes there is taken over; secrets leave the file, and
//! from then on it says what the store says.

mod example;
mod text;

use super::{
    check,
    draft::{Changes, Fault, draft},
    save,
};
use crate::{
    app::App,
    catalog::{DEFAULT, Entry, Source},
    config::Config,
    folders::Standing,
};
use anyhow::{Context, Result, bail};
use regex::{Captures, Regex};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};
use tercel_store::NewNotice;

/// How soon a file is taken over that somebody has written.
const PAUSE: Duration = Duration::from_secs(2);
/// Bytes of a file.
const LARGEST: u64 = 1 << 20;

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{([A-Z][A-Z0-9_]*)\}").expect("it is valid"));

/// What has been looked at, as it was.
#[derive(Default)]
struct Seen {
    files: BTreeMap<PathBuf, Stamp>,
    /// Files of integrations that there are not.
    strange: BTreeSet<PathBuf>,
    examples: BTreeMap<String, String>,
}

/// Takes files over until the server stops. Where the directory is not there, there are none.
pub async fn watch(app: Arc<App>) {
    let mut seen = Seen::default();
    loop {
        if app.folders.is_ready() {
            look(&app, &mut seen).await;
        }
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

fn directory(app: &App) -> Option<PathBuf> {
    let directory = app.config.folders.config.join("integrations");
    directory.is_dir().then_some(directory)
}

fn path(app: &App, id: &str) -> Option<PathBuf> {
    Some(directory(app)?.join(format!("{id}.yaml")))
}

async fn look(app: &Arc<App>, seen: &mut Seen) {
    let Some(directory) = directory(app) else { return };
    let catalog = app.catalog();
    for (id, entry) in &catalog.integrations {
        // Its form is not known yet.
        let has_form = !entry.integration.fields.is_empty();
        if !has_form && matches!(entry.listed.standing, Standing::Preparing | Standing::Broken | Standing::Missing) {
            continue;
        }
        example::write(&directory, &entry.integration, &mut seen.examples);
        let path = directory.join(format!("{id}.yaml"));
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let stamp = Stamp::of(&metadata, entry);
        if !metadata.is_file() || seen.files.get(&path) == Some(&stamp) {
            continue;
        }
        match take_over(app, entry, &path).await {
            Ok(()) => app.close_notice(&notice(id)).await,
            Err(error) => tell(app, id, &path, &error).await,
        }
        seen.files.insert(path, stamp);
    }
    for path in strange(&directory, &catalog.integrations) {
        if seen.strange.insert(path.clone()) {
            tracing::warn!("{}: there is no integration of that name, so that nobody reads it", path.display());
        }
    }
}

/// As it was read: what a form does not have now it may have later.
#[derive(PartialEq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    fields: Vec<String>,
}

impl Stamp {
    fn of(metadata: &Metadata, entry: &Entry) -> Self {
        let fields = entry.integration.fields.iter().map(|field| field.key.clone()).collect();
        Self { modified: metadata.modified().ok(), size: metadata.len(), fields }
    }
}

fn strange(directory: &Path, known: &BTreeMap<String, Arc<Entry>>) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_strange = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        path.extension().is_some_and(|ending| ending == "yaml") && !stem.starts_with('.') && !known.contains_key(stem)
    };
    entries.filter(is_strange).collect()
}

fn notice(id: &str) -> String {
    format!("connection-file:{id}")
}

async fn tell(app: &App, id: &str, path: &Path, error: &anyhow::Error) {
    app.raise(NewNotice {
        key: notice(id),
        severity: "error",
        title: format!("The connection file of `{id}` was not taken over"),
        detail: format!("{}: {error:#}", path.display()),
        repair: Some("Mend the file: it is read again as soon as it changes. What was stored before counts".into()),
    })
    .await;
}

/// Stores what the file says, then takes the secrets out of it: a server that dies in between does both again.
async fn take_over(app: &Arc<App>, entry: &Entry, path: &Path) -> Result<()> {
    let id = &entry.integration.name;
    let written = read(path)?;
    let says: Map<String, Value> = text::parse(&written)?;
    let (mut given, mut secrets) = (Map::new(), BTreeMap::new());
    for (key, value) in says {
        let Some(words) = value.as_str() else {
            given.insert(key, value);
            continue;
        };
        if words == reference(id, &key) {
            continue;
        }
        if words.starts_with("${secret:") {
            bail!("{key}: only its own secret can stand there, as {}", reference(id, &key));
        }
        let resolved = resolved(&app.config, words)?;
        let is_secret = entry.integration.fields.iter().any(|field| field.key == key && field.secret);
        if is_secret && resolved == words && !words.trim().is_empty() {
            secrets.insert(key.clone(), Some(text::quoted(&reference(id, &key))));
        }
        given.insert(key, resolved.into());
    }
    if let Some(refusal) = app.config.tier.refusal(&format!("`{id}`"), &entry.integration.tier) {
        bail!(refusal);
    }
    let drafted = draft(entry, DEFAULT, &given).map_err(|fault| match fault {
        Fault::Unknown(key) => {
            let known: Vec<&str> = entry.integration.fields.iter().map(|field| field.key.as_str()).collect();
            anyhow::anyhow!("`{id}` has no field `{key}`; it has {}", known.join(", "))
        }
        Fault::Wrong(wrong) => anyhow::anyhow!("{wrong}"),
    })?;
    let values = entry.values(DEFAULT);
    // What is made for a person to read is not made here, where nobody reads it.
    let generated = drafted.generated;
    let is_news = |(key, value): &(String, Option<String>)| {
        if generated.contains_key(key) {
            return false;
        }
        let is_stored = values.is_some_and(|values| values.sources.get(key) == Some(&Source::Db));
        match value {
            Some(value) => !is_stored || values.and_then(|values| values.fields.get(key)) != Some(value),
            None => is_stored,
        }
    };
    let changes: Changes = drafted.changes.into_iter().filter(is_news).collect();
    let is_news = !changes.is_empty();
    save::store(app, entry, DEFAULT, changes).await?;
    if !secrets.is_empty() {
        let taken_out = put(path, &text::with(&written, &secrets));
        taken_out.context("its values are stored, but its secrets cannot be taken out of it")?;
    }
    if is_news {
        tracing::info!(integration = %id, "Took over {}", path.display());
        let (app, id) = (app.clone(), id.clone());
        app.clone().work.spawn(async move {
            tokio::select! {
                () = app.stopping.cancelled() => {}
                _ = check(&app, &id, DEFAULT) => {}
            }
        });
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    let size = fs::metadata(path)?.len();
    anyhow::ensure!(size <= LARGEST, "it has more than {LARGEST} bytes");
    fs::read_to_string(path).context("it cannot be read")
}

/// How a file names a secret that the store has.
fn reference(id: &str, key: &str) -> String {
    format!("${{secret:{id}.{key}}}")
}

/// The words with the variables of the environment in them.
fn resolved(config: &Config, words: &str) -> Result<String> {
    let mut wrong = None;
    let resolved = VARIABLE.replace_all(words, |found: &Captures| {
        let name = &found[1];
        match config.environment.get(name).filter(|_| !Config::is_reserved(name)) {
            Some(value) => value.to_owned(),
            None => {
                let why = if Config::is_reserved(name) { "is the server's own" } else { "is not set" };
                wrong.get_or_insert_with(|| format!("{name} {why}"));
                String::new()
            }
        }
    });
    match wrong {
        Some(wrong) => bail!(wrong),
        None => Ok(resolved.into_owned()),
    }
}

/// Writes what is stored of the default connection into its file; without anything stored there is none. Nothing depends
/// on it here: that it cannot be written is only said.
pub fn follow(app: &App, id: &str) {
    let catalog = app.catalog();
    let (Some(path), Some(entry)) = (path(app, id), catalog.integrations.get(id)) else { return };
    if let Err(error) = try_follow(entry, &path) {
        tracing::warn!(integration = id, "{} does not say what is stored: {error:#}", path.display());
    }
}

fn try_follow(entry: &Entry, path: &Path) -> Result<()> {
    let Some(values) = entry.values(DEFAULT) else { return Ok(()) };
    let stored = |key: &str| values.fields.get(key).filter(|_| values.sources.get(key) == Some(&Source::Db));
    let id = &entry.integration.name;
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    if entry.integration.fields.iter().all(|field| stored(&field.key).is_none()) {
        return if before.is_empty() { Ok(()) } else { Ok(fs::remove_file(path)?) };
    }
    let says = text::parse(&before).unwrap_or_default();
    let mut wanted = BTreeMap::new();
    for field in &entry.integration.fields {
        let value = match stored(&field.key) {
            Some(_) if field.secret => Some(Value::from(reference(id, &field.key))),
            Some(value) => Some(text::value(field, value)),
            None => None,
        };
        // What names a variable still does.
        let is_variable = says.get(&field.key).and_then(Value::as_str).is_some_and(|words| VARIABLE.is_match(words));
        if says.get(&field.key) != value.as_ref() && !(is_variable && value.is_some()) {
            wanted.insert(field.key.clone(), value.map(|value| value.to_string()));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    put(path, &text::with(&before, &wanted))
}

/// The whole file or nothing, for its owner only.
fn put(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().context("a file lies in a directory")?;
    let mut draft = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(directory)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    fs::File::open(directory)?.sync_all()?;
    Ok(())
}
