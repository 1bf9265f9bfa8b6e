//! Promise: a key says by its type how tokens are checked, whatever a token says of itself.

use aws_lc_rs::rsa::KeySize;
use firstcome::config::Settings;
use firstcome::identity::{Identity, Tokens};
use firstcome::ids::UserId;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::tokens::{self, Signer, claims, sign_with_secret, trust, trust_file};

fn load(text: &str) -> Result<Tokens, String> {
    let mut settings = Settings::default();
    trust_file(&mut settings, text);
    Tokens::load(&settings).map(Option::unwrap).map_err(|error| error.to_string())
}

fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Fails unless a token is taken for user 7's.
fn assert_accepted(tokens: &Tokens, token: &str, story: &str) {
    assert_eq!(tokens.verify(token), Ok(Identity::User(UserId::new(7).unwrap())), "{story}");
}

fn good() -> Value {
    claims("7", json!({}))
}

/// Goal: RS256, ES256 and EdDSA, each by PEM and by JWKS.
#[test]
fn each_type_of_key_is_read_from_either_format() {
    for signer in [Signer::rsa(), Signer::ec(), Signer::ed()] {
        for text in [signer.public_pem().to_owned(), jwks(&[signer.jwk(json!({}))])] {
            let tokens = load(&text).unwrap();
            assert_accepted(&tokens, &signer.sign(&good()), &text);
            // Keys that have no names are tried, whatever name a token gives.
            assert_accepted(&tokens, &signer.sign_as("any", &good()), &text);
            for other in [Signer::rsa(), Signer::ec(), Signer::ed()] {
                assert!(tokens.verify(&other.sign(&good())).is_err(), "{text}");
            }
        }
    }
}

/// Goal: while keys are changed, tokens of the old and of the new one are good, each under its own name only.
#[test]
fn a_token_is_checked_with_the_key_that_it_names() {
    for (old, new) in [(Signer::rsa(), Signer::rsa()), (Signer::ec(), Signer::ed())] {
        let keys = [old.jwk(json!({"kid": "old", "use": "sig"})), new.jwk(json!({"kid": "new"}))];
        let tokens = load(&jwks(&keys)).unwrap();
        assert_accepted(&tokens, &old.sign_as("old", &good()), "the old key");
        assert_accepted(&tokens, &new.sign_as("new", &good()), "the new key");
        assert_accepted(&tokens, &old.sign(&good()), "no name: each key of the algorithm is tried");
        for token in [old.sign_as("new", &good()), new.sign_as("old", &good()), new.sign_as("none", &good())]
        {
            assert!(tokens.verify(&token).is_err());
        }
    }
    let (old, new) = (Signer::rsa(), Signer::ec());
    let both = load(&format!("{}\n{}", old.public_pem(), new.public_pem())).unwrap();
    assert_accepted(&both, &old.sign(&good()), "two keys in one PEM file");
    assert_accepted(&both, &new.sign(&good()), "two keys in one PEM file");
}

/// Goal: what a token's header says opens no other way: not a public key as a secret, not another algorithm.
#[test]
fn a_header_does_not_choose_the_algorithm() {
    let signer = Signer::rsa();
    let private = EncodingKey::from_rsa_pem(signer.private_pem().as_bytes()).unwrap();
    for text in [signer.public_pem().to_owned(), jwks(&[signer.jwk(json!({}))])] {
        let tokens = load(&text).unwrap();
        for secret in [signer.public_pem(), signer.public_pem().trim(), &text] {
            assert!(tokens.verify(&sign_with_secret(secret.as_bytes(), &good())).is_err());
        }
        for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
            let token = encode(&Header::new(algorithm), &good(), &private).unwrap();
            assert!(tokens.verify(&token).is_err(), "{algorithm:?}");
        }
    }
    let mut settings = Settings::default();
    tokens::trust_secret(&mut settings);
    let by_secret = Tokens::load(&settings).unwrap().unwrap();
    let key = EncodingKey::from_secret(tokens::SECRET.as_bytes());
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert!(by_secret.verify(&encode(&Header::new(algorithm), &good(), &key).unwrap()).is_err());
    }
    assert_accepted(&by_secret, &sign_with_secret(tokens::SECRET.as_bytes(), &good()), "HS256");
}

/// Goal: clocks may differ by a few seconds, and no more.
#[test]
fn the_leeway_is_small() {
    let signer = Signer::ed();
    let tokens = load(signer.public_pem()).unwrap();
    let now = jsonwebtoken::get_current_timestamp();
    for good in [json!({"exp": now - 2}), json!({"nbf": now + 2}), json!({"exp": now as f64 + 60.5})] {
        assert_accepted(&tokens, &signer.sign(&claims("7", good.clone())), &good.to_string());
    }
    for bad in [json!({"exp": now - 20}), json!({"nbf": now + 20}), json!({"exp": 0}), json!({"exp": true})] {
        assert!(tokens.verify(&signer.sign(&claims("7", bad.clone()))).is_err(), "{bad}");
    }
    let several = json!({"aud": ["elsewhere", tokens::AUDIENCE]});
    assert_accepted(&tokens, &signer.sign(&claims("7", several)), "one of several audiences");
}

/// Goal: keys for other uses stand beside ours in a JWKS, and are not used.
#[test]
fn keys_for_other_uses_are_left_alone() {
    let (ours, other) = (Signer::rsa(), Signer::rsa());
    let beside = [
        ours.jwk(json!({"alg": "RS256"})),
        other.jwk(json!({"use": "enc"})),
        other.jwk(json!({"alg": "RS512"})),
        other.jwk(json!({"alg": "RSA-OAEP"})),
        Signer::ec_p384().jwk(json!({"crv": "P-384"})),
    ];
    let tokens = load(&jwks(&beside)).unwrap();
    assert_accepted(&tokens, &ours.sign(&good()), "our key");
    assert!(tokens.verify(&other.sign(&good())).is_err());
}

/// Goal: a file that cannot be meant stops the start, and says why without quoting what may be secret.
#[test]
fn a_file_without_a_fit_key_stops_the_start() {
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    let private = "a private key";
    for (text, why) in [
        (String::new(), "no key"),
        ("canary".to_owned(), "no key"),
        (rsa.private_pem().to_owned(), private),
        (ec.private_pem().to_owned(), private),
        (ed.private_pem().to_owned(), private),
        (format!("{}{}", rsa.public_pem(), ec.private_pem()), private),
        (rsa.private_pem().replace("PRIVATE KEY", "RSA PRIVATE KEY"), private),
        (ec.private_pem().replace("PRIVATE KEY", "EC PRIVATE KEY"), private),
        (ed.private_pem().replace("PRIVATE KEY", "PUBLIC KEY"), "unfit"),
        (rsa.public_pem().replace("PUBLIC KEY", "CERTIFICATE"), "CERTIFICATE"),
        (rsa.public_pem()[..200].to_owned(), "damaged"),
        (format!("{}{}", ec.public_pem(), &rsa.public_pem()[..200]), "damaged"),
        (Signer::ec_p384().public_pem().to_owned(), "unfit"),
        ("{".to_owned(), "neither PEM nor JWKS"),
        ("{}".to_owned(), "keys"),
        (jwks(&[]), "no key"),
        (jwks(&[json!({"kid": "canary"})]), "no key"),
        (jwks(&[json!("canary")]), "no JWK"),
        (jwks(&[json!({"kty": "oct", "k": "canary"})]), private),
        (jwks(&[rsa.jwk(json!({"d": "canary"}))]), private),
        (jwks(&[rsa.jwk(json!({"n": "canarycanary"}))]), "unfit"),
        (jwks(&[rsa.jwk(json!({"n": ""}))]), "unfit"),
        (jwks(&[rsa.jwk(json!({"n": "!canary!"}))]), "base64url"),
        (jwks(&[rsa.jwk(json!({"e": "AA"}))]), "unfit"),
        (jwks(&[ec.jwk(json!({"x": "canarycanary"}))]), "unfit"),
        (jwks(&[ed.jwk(json!({"x": "canarycanary"}))]), "unfit"),
        (jwks(&vec![ed.jwk(json!({})); 33]), "33 keys"),
    ] {
        let error = load(&text).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(error.starts_with("setting `jwt_keys`:") && error.contains(why), "{text}: {error}");
        assert!(error.contains("P-256") && !error.contains("canary"), "{text}: {error}");
    }
    let mut settings = Settings::default();
    trust(&mut settings, "/nowhere/keys.pem".into());
    let error = Tokens::load(&settings).err().unwrap().to_string();
    assert!(error.contains("/nowhere/keys.pem (No such file"), "{error}");
}

/// Goal: no RSA key that can be broken.
#[test]
fn rsa_keys_have_2048_bits_and_more() {
    let larger = Signer::rsa_of(KeySize::Rsa3072);
    for text in [larger.public_pem().to_owned(), jwks(&[larger.jwk(json!({}))])] {
        assert_accepted(&load(&text).unwrap(), &larger.sign(&good()), "3,072 bits");
    }
    let small = "-----BEGIN PUBLIC KEY-----\n\
                 MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCm3JJsNVj7DAaq3t6fjePZ6WO5\n\
                 TN0ZU1ylj5bzR+vur3bemkeYL4/jgfcXIiNJX/jaekOEtMuj2/7ZSHjPnzcJs34Y\n\
                 gjHiBAtDO+354c0QbPTfrR6qgwjmwZwqP1ZEmdKHQ/C1OG5vtfph023Phu179e+c\n\
                 Yo42N8CfPnkzq5AIxwIDAQAB\n\
                 -----END PUBLIC KEY-----\n";
    let error = load(small).err().expect("1,024 bits");
    assert!(error.contains("unfit"), "{error}");
}
