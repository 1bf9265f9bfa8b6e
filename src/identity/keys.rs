//! The keys that tokens are checked with: one secret, or public keys out of a PEM or JWKS file.

use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header};
use serde_json::Value;

use crate::config::{Settings, WrongSetting};

/// Fewest bytes of a secret: as many as HS256 puts out (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Most keys of one file: a token that names none is tried with each of its algorithm.
const KEYS_MAX: usize = 32;

/// A key, and the only algorithm that is accepted with it.
pub struct Key {
    /// The name that tokens call it by, where it has one.
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

impl Key {
    /// Whether a token with this header may have been signed by this key's other half. A token that names a key
    /// is checked with no other one, except with keys that have no names.
    pub fn fits(&self, header: &Header) -> bool {
        let named = match (&self.kid, &header.kid) {
            (Some(kid), Some(wanted)) => kid == wanted,
            (None, _) | (_, None) => true,
        };
        named && header.alg == self.algorithm
    }

    /// Refuses what no signature could ever be checked with.
    fn new(kid: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Result<Self, String> {
        let sound = match (algorithm, key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
                // 2,048 bits and more; 1,024 can be broken.
                RsaParameters::public_modulus_len(der).is_ok_and(is_rsa_length)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let components = RsaPublicKeyComponents { n, e };
                is_rsa_length(bits(n)) && components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_ok()
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok()
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                ParsedPublicKey::new(&ED25519, point).is_ok()
            }
            _ => false,
        };
        if sound {
            Ok(Self { kid, algorithm, key })
        } else {
            Err(format!("a key that is unfit for {algorithm:?}"))
        }
    }
}

fn is_rsa_length(bits: u32) -> bool {
    (RSA_PKCS1_2048_8192_SHA256.min_modulus_len()..=RSA_PKCS1_2048_8192_SHA256.max_modulus_len())
        .contains(&bits)
}

/// Length of a number whose highest byte comes first.
fn bits(number: &[u8]) -> u32 {
    let first = number.iter().position(|it| *it != 0);
    first.map_or(0, |it| (number.len() - it) as u32 * 8 - number[it].leading_zeros())
}

/// The keys that the settings name; at least one.
pub fn read(settings: &Settings) -> Result<Vec<Key>, WrongSetting> {
    let (secret, path) = (settings.jwt_secret.expose(), settings.jwt_keys.as_path());
    match (secret.is_empty(), path.as_os_str().is_empty()) {
        (true, true) => Err(WrongSetting::of("jwt_secret", "nothing, without jwt_keys,")),
        (false, false) => {
            Err(WrongSetting::of("jwt_keys", format!("{}, together with jwt_secret,", path.display())))
        }
        (false, true) if secret.len() < SECRET_BYTES_MIN => {
            Err(WrongSetting::of("jwt_secret", format!("a text of {} bytes", secret.len())))
        }
        (false, true) => {
            let key = DecodingKey::from_secret(secret.as_bytes());
            Ok(vec![Key { kid: None, algorithm: Algorithm::HS256, key }])
        }
        (true, false) => {
            let refuse = |why| WrongSetting {
                key: "jwt_keys".to_owned(),
                value: format!("{} ({why})", path.display()),
                allowed: "a PEM or JWKS file of public keys: RSA from 2,048 bits, P-256, Ed25519".to_owned(),
            };
            read_file(path).map_err(refuse)
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<Key>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let keys = if text.trim_start().starts_with('{') { from_jwks(&text)? } else { from_pem(&text)? };
    match keys.len() {
        0 => Err("no key that could be used".to_owned()),
        1..=KEYS_MAX => Ok(keys),
        more => Err(format!("{more} keys; {KEYS_MAX} are the most")),
    }
}

fn from_pem(text: &str) -> Result<Vec<Key>, String> {
    let blocks = pem::parse_many(text).map_err(|_| "neither PEM nor JWKS")?;
    // The library passes over a block that does not end.
    if blocks.len() != text.matches("-----BEGIN ").count() {
        return Err("a PEM block that is damaged".to_owned());
    }
    blocks.iter().map(from_pem_block).collect()
}

/// Takes a PEM block for a key of one type.
type Reading = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;

fn from_pem_block(block: &pem::Pem) -> Result<Key, String> {
    match block.tag() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        tag if tag.contains("PRIVATE") => {
            return Err("a private key; its public half belongs here".to_owned());
        }
        tag => return Err(format!("{tag:?}; only public keys belong here")),
    }
    let text = pem::encode(block);
    let readings: [(Algorithm, Reading); 3] = [
        (Algorithm::RS256, DecodingKey::from_rsa_pem),
        (Algorithm::ES256, DecodingKey::from_ec_pem),
        (Algorithm::EdDSA, DecodingKey::from_ed_pem),
    ];
    // Each reading takes only keys of its own type.
    let mut read =
        readings.into_iter().filter_map(|(algorithm, read)| Some((algorithm, read(text.as_bytes()).ok()?)));
    let (algorithm, key) = read.next().ok_or("a key of a type that is not supported")?;
    Key::new(None, algorithm, key)
}

fn from_jwks(text: &str) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_str(text).map_err(|_| "neither PEM nor JWKS")?;
    let entries = set["keys"].as_array().ok_or("JSON without an array \"keys\"")?;
    let mut keys = Vec::new();
    for entry in entries {
        // `d` is the private half of a pair, `k` a shared secret: whoever can read this file could make tokens.
        if entry.get("d").is_some() || entry.get("k").is_some() {
            return Err("a private key; its public half belongs here".to_owned());
        }
        let jwk: Jwk = serde_json::from_value(entry.clone()).map_err(|_| "an entry that is no JWK")?;
        keys.extend(from_jwk(&jwk)?);
    }
    Ok(keys)
}

/// `None` for a key that is not for our tokens: issuers publish keys for other uses and algorithms beside them.
fn from_jwk(jwk: &Jwk) -> Result<Option<Key>, String> {
    let (algorithm, wanted) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return Ok(None),
    };
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    if !signs || jwk.common.key_algorithm.is_some_and(|it| it != wanted) {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "a JWK that is not base64url")?;
    Key::new(jwk.common.key_id.clone(), algorithm, key).map(Some)
}
