//! Sealing to a passphrase: Argon2id makes the key, so that guessing is slow, and XChaCha20-Poly1305 seals.

use crate::{Error, Result};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What keeps this apart from other uses of the same passphrase.
const PLACE: &[u8] = b"tercel backup key";
/// What a guess costs: about a fifth of a second.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
/// A file that asks for more than this is not ours.
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 20;

/// Everything that opening takes, but the passphrase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sealed {
    /// `argon2id`
    kdf: String,
    memory_kib: u32,
    passes: u32,
    salt: String,
    /// Nonce and ciphertext.
    sealed: String,
}

pub fn seal(passphrase: &str, secret: &str) -> Result<Sealed> {
    let (salt, nonce): ([u8; 16], [u8; 24]) = (rand::random(), rand::random());
    let key = derive(passphrase, &salt, MEMORY_KIB, PASSES)?;
    let payload = Payload { msg: secret.as_bytes(), aad: PLACE };
    let ciphertext = XChaCha20Poly1305::new((&*key).into())
        .encrypt(&XNonce::from(nonce), payload)
        .expect("encrypting in memory cannot fail");
    Ok(Sealed {
        kdf: "argon2id".into(),
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        salt: BASE64.encode(salt),
        sealed: BASE64.encode([&nonce[..], &ciphertext].concat()),
    })
}

/// # Errors
/// `Sealed` for a wrong passphrase, or a value that was changed.
pub fn open(passphrase: &str, sealed: &Sealed) -> Result<Zeroizing<String>> {
    let damaged = || Error::Sealed("What is sealed to the passphrase is damaged".into());
    let known = sealed.kdf == "argon2id" && sealed.memory_kib <= MOST_MEMORY_KIB && sealed.passes <= MOST_PASSES;
    if !known {
        return Err(Error::Sealed("The key is sealed in a way this version does not know".into()));
    }
    let salt = BASE64.decode(&sealed.salt).map_err(|_| damaged())?;
    let bytes = BASE64.decode(&sealed.sealed).map_err(|_| damaged())?;
    let (nonce, ciphertext) = bytes.split_at_checked(24).ok_or_else(damaged)?;
    let nonce = <[u8; 24]>::try_from(nonce).map_err(|_| damaged())?;
    let key = derive(passphrase, &salt, sealed.memory_kib, sealed.passes)?;
    let plain = XChaCha20Poly1305::new((&*key).into())
        .decrypt(&XNonce::from(nonce), Payload { msg: ciphertext, aad: PLACE })
        .map_err(|_| Error::Sealed("The passphrase is not the one the secrets were sealed to".into()))?;
    String::from_utf8(plain).map(Zeroizing::new).map_err(|_| damaged())
}

fn derive(passphrase: &str, salt: &[u8], memory_kib: u32, passes: u32) -> Result<Zeroizing<[u8; 32]>> {
    let failed = |error: argon2::Error| Error::Sealed(format!("The passphrase cannot be used: {error}"));
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(memory_kib, passes, 1, Some(32)).map_err(failed)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
        .map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_what_was_sealed_to_it() {
        let sealed = seal("correct horse", "00ff").unwrap();
        let text = serde_json::to_string(&sealed).unwrap();
        assert!(!text.contains("00ff") && !text.contains("horse"));
        let read: Sealed = serde_json::from_str(&text).unwrap();
        assert_eq!(*open("correct horse", &read).unwrap(), "00ff");
        assert!(open("correct hors", &read).unwrap_err().to_string().contains("passphrase"));
        let greedy = Sealed { memory_kib: u32::MAX, ..read.clone() };
        assert!(open("correct horse", &greedy).unwrap_err().to_string().contains("does not know"));
        assert_ne!(seal("correct horse", "00ff").unwrap().sealed, sealed.sealed);
    }
}
