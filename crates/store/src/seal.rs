//! Secrets at rest: XChaCha20-Poly1305 under a key of the server's, bound to the place where the value stands.
//!
//! While a key is replaced there are two: the new one seals, and either opens.

mod json;
mod key;
pub mod renewal;

pub use json::{is_sealed, mask_secrets, secrets_in};
pub use key::{FILE, PREVIOUS};

use crate::{Error, Result, Store, left_out::Form};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chacha20poly1305::{
    XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, KeyInit, Mac};
use json::visit;
use key::Key;
use serde_json::Value;
use sha2::Sha256;
use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};
use zeroize::Zeroizing;

/// The row of the server's settings that says which key the secrets of a database are sealed with.
pub(crate) const KEY_ID: &str = "key.id";
/// The row that has what markers are made with, sealed, once the key was replaced.
const MARKER: &str = "key.marker";
/// The same as `KEY_ID` in a data directory, as a file.
const NOTE: &str = "key.id";
/// What a sealed value begins with; after it come the key's id and the nonce with the ciphertext.
pub(crate) const PREFIX: &str = "sealed:1:";

/// What stands in a copy that was made without secrets.
pub const LEFT_OUT: &str = "sealed:left-out";

/// What a secret looks like in every answer.
pub const MASK: &str = "••••••••";

pub struct Sealer(RwLock<Arc<Keys>>);

struct Keys {
    current: Key,
    previous: Option<Key>,
    /// What proves that a post is ours. It outlives keys: posts that are out there have it in them.
    marker: Zeroizing<[u8; 32]>,
}

/// The key that a data directory was first used with, by its id.
pub fn first_key(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join(NOTE)).ok().filter(|first| !first.is_empty())
}

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Self {
        Self::of(Key::new(key), None)
    }

    fn of(current: Key, previous: Option<Key>) -> Self {
        let previous = previous.filter(|previous| previous.id != current.id);
        let marker = previous.as_ref().unwrap_or(&current).marker.clone();
        Self(RwLock::new(Arc::new(Keys { current, previous, marker })))
    }

    /// Takes 64 hex digits.
    ///
    /// # Errors
    /// `Unusable` when it is anything else.
    pub fn from_hex(text: &str) -> Result<Self> {
        Ok(Self::of(Key::from_hex("ENCRYPTION_KEY", text)?, None))
    }

    /// Reads the key file, or makes it (0600) when there is none. Where the key was replaced and not everything is sealed with
    /// the new one, the one before it lies beside it.
    pub fn from_file(file: &Path) -> Result<Self> {
        let current = match Key::from_file(file)? {
            Some(key) => key,
            None => Key::make(file)?,
        };
        Ok(Self::of(current, Key::from_file(&file.with_file_name(PREVIOUS))?))
    }

    /// The same, and it also opens what this one has sealed, in 64 hex digits.
    ///
    /// # Errors
    /// `Unusable` when it is anything else.
    pub fn with_previous(self, text: &str) -> Result<Self> {
        let previous = Key::from_hex("ENCRYPTION_KEY_PREVIOUS", text)?;
        let keys = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let current = Arc::into_inner(keys).expect("nobody else has it yet").current;
        Ok(Self::of(current, Some(previous)))
    }

    fn keys(&self) -> Arc<Keys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells this key from others, and says nothing about it.
    pub fn id(&self) -> String {
        self.keys().current.id.clone()
    }

    /// The key before this one, while it counts.
    pub fn previous_id(&self) -> Option<String> {
        self.keys().previous.as_ref().map(|key| key.id.clone())
    }

    fn knows(&self, id: &str) -> bool {
        let keys = self.keys();
        keys.current.id == id || keys.previous.as_ref().is_some_and(|key| key.id == id)
    }

    /// Refuses a data directory that was used with another key: its secrets could not be opened, and posts whose
    /// acknowledgement was lost could not be found again by their markers. The first key is noted there by its id.
    ///
    /// # Errors
    /// `Unusable` for another key.
    pub fn check_directory(&self, directory: &Path) -> Result<()> {
        if first_key(directory).is_some() {
            return self.fits_directory(directory);
        }
        self.note(directory);
        Ok(())
    }

    /// Notes in a directory which key it is used with.
    pub fn note(&self, directory: &Path) {
        let note = directory.join(NOTE);
        let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&note);
        // A full disk must not keep a server from starting.
        if let Err(error) = written.and_then(|mut file| file.write_all(self.id().as_bytes())) {
            tracing::warn!("{} cannot be written: {error}", note.display());
        }
    }

    /// The same as `check_directory`, and nothing is noted.
    ///
    /// # Errors
    /// `Unusable` for another key.
    pub fn fits_directory(&self, directory: &Path) -> Result<()> {
        match first_key(directory) {
            Some(first) if !self.knows(&first) => Err(Error::Unusable(format!(
                "The secrets in {} are sealed with key {first}; the key in use is {}. Set ENCRYPTION_KEY to the earlier key, \
                 or bring the file `key` back; to replace it, set ENCRYPTION_KEY_PREVIOUS to it as well. If that key is lost \
                 for good, remove {}: the server starts then, and the secrets must be entered again",
                directory.display(),
                self.id(),
                directory.join(NOTE).display()
            ))),
            _ => Ok(()),
        }
    }

    /// The same for a database that is elsewhere, where a data directory may be a new one.
    ///
    /// # Errors
    /// `Unusable` for another key.
    pub async fn check_database(&self, store: &Store) -> Result<()> {
        match store.server_setting(KEY_ID).await? {
            Some(first) => self.fits_database(&first),
            None => store.put_server_setting(KEY_ID, Some(self.id())).await,
        }
    }

    /// Whether this key is the one that a database was first used with.
    ///
    /// # Errors
    /// `Unusable` for another key.
    pub fn fits_database(&self, first: &str) -> Result<()> {
        if self.knows(first) {
            return Ok(());
        }
        Err(Error::Unusable(format!(
            "The secrets in the database are sealed with key {first}; the key in use is {}. Set ENCRYPTION_KEY to the \
             earlier key, or bring the file `key` back into the data directory; to replace it, set ENCRYPTION_KEY_PREVIOUS \
             to it as well. If that key is lost for good, delete the row `{KEY_ID}` of the table server_settings: the server \
             starts then, and the secrets must be entered again",
            self.id()
        )))
    }

    /// Seals a text for one place (`settings/forge/default/token`); it can be opened only there.
    pub fn seal(&self, place: &str, text: &str) -> String {
        let Key { id, cipher, .. } = &self.keys().current;
        let nonce: [u8; 24] = rand::random();
        let payload = Payload { msg: text.as_bytes(), aad: place.as_bytes() };
        let ciphertext = cipher.encrypt(&XNonce::from(nonce), payload).expect("encrypting in memory cannot fail");
        format!("{PREFIX}{id}:{}", BASE64.encode([&nonce[..], &ciphertext].concat()))
    }

    /// # Errors
    /// `Sealed` when the value was sealed with another key or for another place.
    pub fn open(&self, place: &str, sealed: &str) -> Result<String> {
        if sealed == LEFT_OUT {
            return Err(Error::Sealed(format!("The secret at {place} was left out of the backup; enter it again")));
        }
        let Some(rest) = sealed.strip_prefix(PREFIX) else { return Ok(sealed.to_owned()) };
        let (id, text) = rest.split_once(':').unwrap_or_default();
        let keys = self.keys();
        let fits = |key: &&Key| key.id == id;
        let Some(key) = [Some(&keys.current), keys.previous.as_ref()].into_iter().flatten().find(fits) else {
            return Err(Error::Sealed(format!(
                "The secret at {place} was sealed with key {id}; the key in use is {}. Set ENCRYPTION_KEY to the earlier one, or enter the secret again",
                keys.current.id
            )));
        };
        let damaged = || Error::Sealed(format!("The secret at {place} is damaged; enter it again"));
        let bytes = BASE64.decode(text).map_err(|_| damaged())?;
        let (nonce, ciphertext) = bytes.split_at_checked(24).ok_or_else(damaged)?;
        let nonce = <[u8; 24]>::try_from(nonce).map_err(|_| damaged())?;
        let payload = Payload { msg: ciphertext, aad: place.as_bytes() };
        let plain = key.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| damaged())?;
        String::from_utf8(plain).map_err(|_| damaged())
    }

    /// Seals what stands under a secret key, at any depth.
    pub fn seal_secrets(&self, place: &str, mut json: Value) -> Value {
        visit(&mut json, &mut |value| {
            if let Value::String(text) = value
                && !is_sealed(text)
            {
                *text = self.seal(place, text);
            }
        });
        json
    }

    /// Opens what [`Sealer::seal_secrets`] sealed.
    pub fn open_secrets(&self, place: &str, mut json: Value) -> Result<Value> {
        let mut failure = None;
        visit(&mut json, &mut |value| {
            if let Value::String(text) = value {
                match self.open(place, text) {
                    Ok(plain) => *text = plain,
                    Err(error) => failure = Some(error),
                }
            }
        });
        failure.map_or(Ok(json), Err)
    }

    /// The same value under the key of now; `None` when it is, or when nobody can open it.
    pub fn renew(&self, place: &str, form: Form, value: &str) -> Option<String> {
        let own = format!("{PREFIX}{}:", self.id());
        let renewed = |text: &str| {
            let is_old = text.starts_with(PREFIX) && !text.starts_with(&own);
            is_old.then(|| self.open(place, text).ok()).flatten().map(|plain| self.seal(place, &plain))
        };
        if form == Form::Whole {
            return renewed(value);
        }
        let (mut json, mut is_changed) = (serde_json::from_str(value).ok()?, false);
        // One that is the whole of it stands under no key.
        let mut renew = |value: &mut Value| {
            if let Some(new) = value.as_str().and_then(&renewed) {
                (*value, is_changed) = (new.into(), true);
            }
        };
        match &mut json {
            Value::String(_) => renew(&mut json),
            _ => visit(&mut json, &mut renew),
        }
        is_changed.then(|| json.to_string())
    }

    /// Proof that a post is ours: an HMAC that nobody else can make.
    pub fn marker(&self, id: uuid::Uuid) -> String {
        hex::encode(&self.mac().chain_update(id.as_bytes()).finalize().into_bytes()[..16])
    }

    /// A key for signing what this server sends, one per purpose.
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        self.mac().chain_update(b"derived:").chain_update(purpose.as_bytes()).finalize().into_bytes().into()
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&*self.keys().marker).expect("an HMAC key may have any length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_new_key_seals_and_either_opens_until_the_earlier_one_is_gone() {
        let old = Sealer::new(&[7; 32]);
        let both = Sealer::new(&[8; 32]).with_previous(&hex::encode([7; 32])).unwrap();
        let sealed = old.seal("p", "x");
        assert_eq!(both.open("p", &sealed).unwrap(), "x");
        let renewed = both.renew("p", Form::Whole, &sealed).unwrap();
        assert_eq!(Sealer::new(&[8; 32]).open("p", &renewed).unwrap(), "x");
        assert_eq!(both.renew("p", Form::Whole, &renewed), None, "it is done");
        assert_eq!(both.renew("other", Form::Whole, &sealed), None, "nobody can open it there");
        assert_eq!(both.renew("p", Form::Whole, "plain"), None);
        let id = uuid::Uuid::nil();
        assert_eq!((both.marker(id), both.derived("a")), (old.marker(id), old.derived("a")), "posts are still ours");
        let target = old.seal_secrets("p", json!({"type": "chat", "token": "t", "room": "R"})).to_string();
        let renewed: Value = serde_json::from_str(&both.renew("p", Form::Json, &target).unwrap()).unwrap();
        let opened = Sealer::new(&[8; 32]).open_secrets("p", renewed).unwrap();
        assert_eq!(opened, json!({"type": "chat", "token": "t", "room": "R"}));
    }

    #[test]
    fn a_sealed_value_opens_at_its_own_place_only() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("settings/a/default/token", "hunter2");
        assert!(is_sealed(&sealed) && !sealed.contains("hunter2"));
        assert_eq!(sealer.open("settings/a/default/token", &sealed).unwrap(), "hunter2");
        assert!(sealer.open("settings/b/default/token", &sealed).is_err());
        assert!(
            Sealer::new(&[8; 32])
                .open("settings/a/default/token", &sealed)
                .unwrap_err()
                .to_string()
                .contains("ENCRYPTION_KEY")
        );
    }

    #[test]
    fn secrets_inside_a_target_are_sealed_masked_and_opened() {
        let sealer = Sealer::new(&[7; 32]);
        let target = json!({"type": "chat", "channel_id": "C1", "token": "xoxb", "auth": {"api_key": "k"}, "list": [{"Authorization": "b"}], "secret": {"deep": ["s3cret"]}});
        let sealed = sealer.seal_secrets("outbox/1", target.clone());
        assert!(
            !sealed.to_string().contains("xoxb")
                && !sealed.to_string().contains("s3cret")
                && sealed["channel_id"] == "C1"
        );
        assert_eq!(sealer.seal_secrets("outbox/1", sealed.clone()), sealed);
        assert_eq!(sealer.open_secrets("outbox/1", sealed.clone()).unwrap(), target);
        assert_eq!(mask_secrets(sealed)["list"][0]["Authorization"], MASK);
    }

    #[test]
    fn a_directory_is_refused_under_another_key_until_its_note_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (first, other) = (Sealer::new(&[7; 32]), Sealer::new(&[8; 32]));
        first.check_directory(directory.path()).unwrap();
        first.check_directory(directory.path()).unwrap();
        let refused = other.check_directory(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("ENCRYPTION_KEY") && refused.contains("key.id"), "{refused}");
        fs::remove_file(directory.path().join("key.id")).unwrap();
        other.check_directory(directory.path()).unwrap();
        assert!(first.check_directory(directory.path()).is_err());
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let sealed = Sealer::from_file(&file).unwrap().seal("p", "x");
        assert_eq!(Sealer::from_file(&file).unwrap().open("p", &sealed).unwrap(), "x");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "not a key").unwrap();
        assert!(Sealer::from_file(&file).is_err());
    }
}
