//! Signed claims (RFC 7519): how some services want to be told who asks.

use crate::{Error, Result};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value};
use sha2::Sha256;

/// How claims are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// With a secret that both sides have.
    Hs256,
    /// With an RSA key in PEM.
    Rs256,
    /// With a key on the curve P-256 in PEM.
    Es256,
}

impl Algorithm {
    /// By the name that it has in a header.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "RS256" => Self::Rs256,
            "ES256" => Self::Es256,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// `header.claims.signature`. The header says algorithm and type, and what is given beside.
///
/// # Errors
/// When the key is none for this algorithm. What is in it is not repeated.
pub fn sign(algorithm: Algorithm, header: &Map<String, Value>, claims: &Value, key: &[u8]) -> Result<String> {
    let mut whole = header.clone();
    whole.insert("alg".into(), algorithm.name().into());
    whole.entry("typ").or_insert_with(|| "JWT".into());
    let signed = format!("{}.{}", BASE64.encode(Value::Object(whole).to_string()), BASE64.encode(claims.to_string()));
    let signature = match algorithm {
        Algorithm::Hs256 => {
            let mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC key may have any length");
            mac.chain_update(&signed).finalize().into_bytes().to_vec()
        }
        Algorithm::Rs256 => {
            let pair = match private(key)? {
                PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
                PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
                _ => return Err(unfit(algorithm)),
            };
            let pair = pair.map_err(|_| unfit(algorithm))?;
            let mut signature = vec![0; pair.public_modulus_len()];
            let done = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
            done.map_err(|_| unfit(algorithm))?;
            signature
        }
        Algorithm::Es256 => {
            let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = match private(key)? {
                PrivateKeyDer::Sec1(der) => EcdsaKeyPair::from_private_key_der(scheme, der.secret_sec1_der()),
                PrivateKeyDer::Pkcs8(der) => EcdsaKeyPair::from_pkcs8(scheme, der.secret_pkcs8_der()),
                _ => return Err(unfit(algorithm)),
            };
            let pair = pair.map_err(|_| unfit(algorithm))?;
            let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| unfit(algorithm))?;
            signature.as_ref().to_vec()
        }
    };
    Ok(format!("{signed}.{}", BASE64.encode(signature)))
}

fn private(key: &[u8]) -> Result<PrivateKeyDer<'static>> {
    // In an environment file, the ends of lines are often written out.
    let text = String::from_utf8_lossy(key);
    let text = if text.trim().contains('\n') { text.into_owned() } else { text.replace("\\n", "\n") };
    PrivateKeyDer::from_pem_slice(text.trim().as_bytes()).map_err(|_| {
        Error::schema("The key is no private key in PEM")
            .hint("It is the whole text from `-----BEGIN PRIVATE KEY-----` to `-----END PRIVATE KEY-----`")
    })
}

fn unfit(algorithm: Algorithm) -> Error {
    let kind = match algorithm {
        Algorithm::Es256 => "a private key on the curve P-256",
        Algorithm::Hs256 | Algorithm::Rs256 => "a private RSA key",
    };
    Error::schema(format!("{} needs {kind}, and the key is another", algorithm.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::{
        encoding::AsDer,
        rsa::KeySize,
        signature::{
            ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
        },
    };
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    fn pem(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    #[track_caller]
    fn check(made: &str, algorithm: &'static dyn VerificationAlgorithm, public: &[u8]) {
        let (signed, signature) = made.rsplit_once('.').unwrap();
        let signature = BASE64.decode(signature).unwrap();
        UnparsedPublicKey::new(algorithm, public).verify(signed.as_bytes(), &signature).unwrap();
        let read = |part: &str| serde_json::from_slice::<Value>(&BASE64.decode(part).unwrap()).unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        assert_eq!((&read(header)["kid"], &read(claims)), (&json!("k1"), &json!({"iss": "me"})));
    }

    fn header() -> Map<String, Value> {
        json!({"kid": "k1"}).as_object().unwrap().clone()
    }

    #[test]
    fn what_is_signed_by_an_rsa_key_is_verified_by_it() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = pair.as_der().unwrap();
        let key = pem("PRIVATE KEY", der.as_ref());
        for key in [key.clone(), key.replace('\n', "\\n"), format!("\n {key}")] {
            let made = sign(Algorithm::Rs256, &header(), &json!({"iss": "me"}), key.as_bytes()).unwrap();
            check(&made, &RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
        }
        let error = sign(Algorithm::Es256, &header(), &json!({}), key.as_bytes()).unwrap_err();
        assert!(error.message.contains("P-256"), "{error}");
    }

    #[test]
    fn what_is_signed_by_a_key_on_a_curve_is_verified_by_it() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref());
        let made = sign(Algorithm::Es256, &header(), &json!({"iss": "me"}), key.as_bytes()).unwrap();
        check(&made, &ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    }

    /// The example of jwt.io, which every library knows.
    #[test]
    fn a_shared_secret_signs_as_everywhere() {
        let claims = json!({"sub": "1234567890", "name": "John Doe", "iat": 1516239022});
        let header = json!({"alg": "HS256", "typ": "JWT"}).as_object().unwrap().clone();
        let made = sign(Algorithm::Hs256, &header, &claims, b"your-256-bit-secret").unwrap();
        assert_eq!(
            made,
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
             SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
        );
    }

    #[test]
    fn a_key_that_is_none_is_said_without_it() {
        for key in ["", "sk-s3cret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
            let error = sign(Algorithm::Rs256, &header(), &json!({}), key.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
