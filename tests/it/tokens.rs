//! Tokens as an identity provider makes them, good ones and bad ones.

use std::path::PathBuf;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use firstcome::config::{Auth, Passphrase, Settings};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

pub const AUDIENCE: &str = "shop";
pub const ISSUER: &str = "https://id.example";
pub const SECRET: &str = "4f1c2a8e9b7d6035a1e4c8f2b90d7e63";

/// Claims that are good for an hour; `changes` replace some, and `null` takes one away.
pub fn claims(sub: &str, changes: Value) -> Value {
    let mut claims =
        json!({"sub": sub, "aud": AUDIENCE, "iss": ISSUER, "exp": get_current_timestamp() + 3_600});
    let all = claims.as_object_mut().unwrap();
    all.extend(changes.as_object().unwrap().clone());
    all.retain(|_, value| !value.is_null());
    claims
}

/// One pair of keys, and how tokens are signed with it.
pub struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
    private_pem: String,
    public_pem: String,
}

impl Signer {
    pub fn rsa() -> Self {
        Self::rsa_of(KeySize::Rsa2048)
    }

    pub fn rsa_of(size: KeySize) -> Self {
        let pair = KeyPair::generate(size).unwrap();
        let der = AsDer::<Pkcs8V1Der>::as_der(&pair).unwrap();
        let public = AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).unwrap();
        // The library takes the inner PKCS#1 key of a PEM, and only that as bytes.
        let private = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", der.as_ref()).as_bytes()).unwrap();
        Self::new(Algorithm::RS256, private, der.as_ref(), public.as_ref())
    }

    pub fn ec() -> Self {
        Self::ec_of(&ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// A curve that is not supported.
    pub fn ec_p384() -> Self {
        Self::ec_of(&ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec_of(curve: &'static EcdsaSigningAlgorithm) -> Self {
        let der = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(curve, der.as_ref()).unwrap();
        let public = AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).unwrap();
        Self::new(Algorithm::ES256, EncodingKey::from_ec_der(der.as_ref()), der.as_ref(), public.as_ref())
    }

    pub fn ed() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
        let public = AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).unwrap();
        Self::new(Algorithm::EdDSA, EncodingKey::from_ed_der(der.as_ref()), der.as_ref(), public.as_ref())
    }

    fn new(algorithm: Algorithm, private: EncodingKey, private_der: &[u8], public_der: &[u8]) -> Self {
        let (private_pem, public_pem) = (pem("PRIVATE KEY", private_der), pem("PUBLIC KEY", public_der));
        Self { algorithm, private, private_pem, public_pem }
    }

    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    pub fn private_pem(&self) -> &str {
        &self.private_pem
    }

    /// The public key as an entry of a JWKS file; `changes` replace members, and `null` takes one away.
    pub fn jwk(&self, changes: Value) -> Value {
        let key = match self.algorithm {
            Algorithm::RS256 => jsonwebtoken::DecodingKey::from_rsa_pem(self.public_pem.as_bytes()),
            Algorithm::ES256 => jsonwebtoken::DecodingKey::from_ec_pem(self.public_pem.as_bytes()),
            _ => jsonwebtoken::DecodingKey::from_ed_pem(self.public_pem.as_bytes()),
        };
        let mut jwk = serde_json::to_value(Jwk::from_decoding_key(&key.unwrap(), None).unwrap()).unwrap();
        let members = jwk.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        jwk
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(|_| (), claims)
    }

    /// A token that names its key.
    pub fn sign_as(&self, kid: &str, claims: &Value) -> String {
        self.sign_with(|header| header.kid = Some(kid.to_owned()), claims)
    }

    /// A token with another header.
    pub fn sign_with(&self, change: impl FnOnce(&mut Header), claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        change(&mut header);
        encode(&header, claims, &self.private).unwrap()
    }

    pub fn user(&self, user: u64) -> String {
        self.sign(&claims(&user.to_string(), json!({})))
    }

    pub fn admin(&self) -> String {
        self.sign(&claims("back-office", json!({"scope": "orders admin"})))
    }

    /// Settings that trust this key alone.
    pub fn trusted_by(&self, settings: &mut Settings) {
        trust_file(settings, &self.public_pem);
    }
}

/// Settings that trust the keys in a file with this text.
pub fn trust_file(settings: &mut Settings, text: &str) {
    let path = super::test_servers::fresh_folder().join("keys");
    std::fs::write(&path, text).unwrap();
    trust(settings, path);
}

pub fn trust(settings: &mut Settings, keys: PathBuf) {
    ask_for_tokens(settings);
    settings.jwt_keys = keys;
}

/// Settings that trust [`SECRET`].
pub fn trust_secret(settings: &mut Settings) {
    ask_for_tokens(settings);
    settings.jwt_secret = Passphrase::new(SECRET);
}

fn ask_for_tokens(settings: &mut Settings) {
    settings.auth = Auth::Jwt;
    settings.jwt_audience = AUDIENCE.to_owned();
    settings.jwt_issuer = ISSUER.to_owned();
}

/// A token that is signed with a secret.
pub fn sign_with_secret(secret: &[u8], claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret)).unwrap()
}

/// A user's token under [`SECRET`].
pub fn user(user: u64) -> String {
    sign_with_secret(SECRET.as_bytes(), &claims(&user.to_string(), json!({})))
}

/// An administrator's token under [`SECRET`].
pub fn admin() -> String {
    sign_with_secret(SECRET.as_bytes(), &claims("back-office", json!({"scope": "admin"})))
}

fn pem(tag: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}
