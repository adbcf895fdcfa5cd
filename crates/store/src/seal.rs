//! Secrets at rest: XChaCha20-Poly1305 under a key of the server's, bound to the place where the value stands.

use crate::{Error, Result, Store};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};
use zeroize::Zeroizing;

/// The row of the server's settings that says which key the secrets of a database are sealed with.
pub(crate) const KEY_ID: &str = "key.id";
/// The same in a data directory, as a file.
const NOTE: &str = "key.id";
/// What a sealed value begins with; after it come the key's id and the nonce with the ciphertext.
pub(crate) const PREFIX: &str = "sealed:1:";

/// What stands in a copy that was made without secrets.
pub const LEFT_OUT: &str = "sealed:left-out";

/// Words that make a key of a `dispatch_config` a secret.
const SECRET_KEYS: [&str; 5] = ["token", "secret", "password", "key", "authorization"];

/// What a secret looks like in every answer.
pub const MASK: &str = "••••••••";

pub struct Sealer {
    id: String,
    cipher: XChaCha20Poly1305,
    marker: Zeroizing<[u8; 32]>,
}

/// The key that a data directory was first used with, by its id.
pub fn first_key(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join(NOTE)).ok().filter(|first| !first.is_empty())
}

impl Sealer {
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
    ///
    /// # Errors
    /// `Unusable` when it is anything else.
    pub fn from_hex(text: &str) -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut()).map_err(|_| {
            Error::Unusable("ENCRYPTION_KEY must be 64 hex digits; `openssl rand -hex 32` makes one".into())
        })?;
        Ok(Self::new(&key))
    }

    /// Reads the key file, or makes it (0600) when there is none.
    pub fn from_file(file: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Unusable(format!("The key file {}: {error}", file.display()));
        match fs::read_to_string(file) {
            Ok(text) => Self::from_hex(&text)
                .map_err(|_| Error::Unusable(format!("The key file {} does not hold 64 hex digits", file.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = Zeroizing::new(rand::random::<[u8; 32]>());
                // Under another name first: a key that is half written would lose every secret sealed with it.
                let draft = file.with_extension("new");
                let mut out = fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&draft)
                    .map_err(failed)?;
                out.write_all(hex::encode(*key).as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
                fs::rename(&draft, file).map_err(failed)?;
                if let Some(directory) = file.parent() {
                    fs::File::open(directory).and_then(|d| d.sync_all()).map_err(failed)?;
                }
                Ok(Self::new(&key))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Tells this key from others, and says nothing about it.
    pub fn id(&self) -> &str {
        &self.id
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
        let note = directory.join(NOTE);
        let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&note);
        // A full disk must not keep a server from starting.
        if let Err(error) = written.and_then(|mut file| file.write_all(self.id.as_bytes())) {
            tracing::warn!("{} cannot be written: {error}", note.display());
        }
        Ok(())
    }

    /// The same, and nothing is noted.
    ///
    /// # Errors
    /// `Unusable` for another key.
    pub fn fits_directory(&self, directory: &Path) -> Result<()> {
        match first_key(directory) {
            Some(first) if first != self.id => Err(Error::Unusable(format!(
                "The secrets in {} are sealed with key {first}; the key in use is {}. Set ENCRYPTION_KEY to the earlier key, \
                 or bring the file `key` back. If that key is lost for good, remove {}: the server starts then, and the \
                 secrets must be entered again",
                directory.display(),
                self.id,
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
            None => store.put_server_setting(KEY_ID, Some(self.id.clone())).await,
        }
    }

    /// Whether this key is the one that a database was first used with.
    ///
    /// # Errors
    /// `Unusable` for another key.
    pub fn fits_database(&self, first: &str) -> Result<()> {
        if first == self.id {
            return Ok(());
        }
        Err(Error::Unusable(format!(
            "The secrets in the database are sealed with key {first}; the key in use is {}. Set ENCRYPTION_KEY to the \
             earlier key, or bring the file `key` back into the data directory. If that key is lost for good, delete the \
             row `{KEY_ID}` of the table server_settings: the server starts then, and the secrets must be entered again",
            self.id
        )))
    }

    /// Seals a text for one place (`settings/forge/default/token`); it can be opened only there.
    pub fn seal(&self, place: &str, text: &str) -> String {
        let nonce: [u8; 24] = rand::random();
        let payload = Payload { msg: text.as_bytes(), aad: place.as_bytes() };
        let ciphertext = self.cipher.encrypt(&XNonce::from(nonce), payload).expect("encrypting in memory cannot fail");
        format!("{PREFIX}{}:{}", self.id, BASE64.encode([&nonce[..], &ciphertext].concat()))
    }

    /// # Errors
    /// `Sealed` when the value was sealed with another key or for another place.
    pub fn open(&self, place: &str, sealed: &str) -> Result<String> {
        if sealed == LEFT_OUT {
            return Err(Error::Sealed(format!("The secret at {place} was left out of the backup; enter it again")));
        }
        let Some(rest) = sealed.strip_prefix(PREFIX) else { return Ok(sealed.to_owned()) };
        let (id, text) = rest.split_once(':').unwrap_or_default();
        if id != self.id {
            return Err(Error::Sealed(format!(
                "The secret at {place} was sealed with key {id}; the key in use is {}. Set ENCRYPTION_KEY to the earlier one, or enter the secret again",
                self.id
            )));
        }
        let damaged = || Error::Sealed(format!("The secret at {place} is damaged; enter it again"));
        let bytes = BASE64.decode(text).map_err(|_| damaged())?;
        let (nonce, ciphertext) = bytes.split_at_checked(24).ok_or_else(damaged)?;
        let nonce = <[u8; 24]>::try_from(nonce).map_err(|_| damaged())?;
        let payload = Payload { msg: ciphertext, aad: place.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| damaged())?;
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

    /// Proof that a post is ours: an HMAC that nobody else can make.
    pub fn marker(&self, id: uuid::Uuid) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(&*self.marker).expect("an HMAC key may have any length");
        hex::encode(&mac.chain_update(id.as_bytes()).finalize().into_bytes()[..16])
    }

    /// A key for signing what this server sends, one per purpose.
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&*self.marker).expect("an HMAC key may have any length");
        mac.chain_update(b"derived:").chain_update(purpose.as_bytes()).finalize().into_bytes().into()
    }
}

pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX) || text == LEFT_OUT
}

/// Puts the mask in place of what stands under a secret key.
pub fn mask_secrets(mut json: Value) -> Value {
    visit(&mut json, &mut |value| {
        if !value.is_null() {
            *value = MASK.into();
        }
    });
    json
}

/// What stands under a secret key.
pub fn secrets_in(mut json: Value) -> Vec<String> {
    let mut secrets = Vec::new();
    visit(&mut json, &mut |value| {
        if let Value::String(text) = value {
            secrets.push(std::mem::take(text));
        }
    });
    secrets
}

fn visit(json: &mut Value, secret: &mut impl FnMut(&mut Value)) {
    visit_below(json, false, secret);
}

/// Everything below a secret key is secret.
fn visit_below(json: &mut Value, inside: bool, secret: &mut impl FnMut(&mut Value)) {
    match json {
        Value::Object(map) => {
            for (key, value) in map {
                let name = key.to_lowercase();
                visit_below(value, inside || SECRET_KEYS.iter().any(|word| name.ends_with(word)), secret);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| visit_below(value, inside, secret)),
        _ if inside => secret(json),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
