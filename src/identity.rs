//! Tokens: who they speak for, and with which keys they are checked.
//!
//! A key decides by its type which algorithm is accepted; what a token's header says is only compared with it.

mod keys;
mod well_known;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use crate::config::{Auth, Settings, WrongSetting};
use crate::ids::UserId;
use keys::Key;

pub use well_known::is_well_known;

/// How far the clocks of issuer and engine may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 5;

/// The scope that makes an administrator.
const ADMIN: &str = "admin";

/// Whom a valid token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    User(UserId),
    /// Acts for anyone. Whoever `sub` names matters for their idempotency keys only; `None`: it is no id.
    Admin(Option<UserId>),
}

/// Why a token is not accepted; for the log, in words that quote nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadToken(&'static str);

/// What a token says that the library does not check by itself.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    scope: Option<String>,
}

/// A token of [`mint`].
#[derive(Serialize)]
struct Minted<'a> {
    sub: String,
    aud: &'a str,
    iss: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

/// Checks tokens: with each key, what a token that it signed must say.
pub struct Tokens(Vec<(Key, Validation)>);

impl Tokens {
    /// What the settings trust; `None` where nobody is asked for a token. Reads the key file.
    pub fn load(settings: &Settings) -> Result<Option<Self>, WrongSetting> {
        if settings.auth == Auth::None {
            return Ok(None);
        }
        let keys = keys::read(settings)?;
        for (key, value) in [("jwt_audience", &settings.jwt_audience), ("jwt_issuer", &settings.jwt_issuer)] {
            if value.is_empty() {
                return Err(WrongSetting::of(key, "nothing"));
            }
        }
        let with_claims = |key: Key| {
            let validation = validation(key.algorithm, settings);
            (key, validation)
        };
        Ok(Some(Self(keys.into_iter().map(with_claims).collect())))
    }

    /// Whom a token speaks for, if it is signed, meant for this engine, and not out of its time.
    pub fn verify(&self, token: &str) -> Result<Identity, BadToken> {
        let header = decode_header(token).map_err(|error| bad(error.kind()))?;
        // RFC 7515 §4.1.11: who does not understand an extension must refuse the token; we know none.
        if header.crit.is_some() {
            return Err(BadToken("an extension that is not understood"));
        }
        let mut refusal = BadToken("no key for its algorithm and kid");
        for (key, validation) in self.0.iter().filter(|(key, _)| key.fits(&header)) {
            match decode::<Claims>(token, &key.key, validation) {
                Ok(token) => return identity_of(token.claims),
                Err(error) => refusal = bad(error.kind()),
            }
        }
        Err(refusal)
    }
}

fn validation(algorithm: Algorithm, settings: &Settings) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_audience(&[&settings.jwt_audience]);
    validation.set_issuer(&[&settings.jwt_issuer]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    validation
}

fn identity_of(claims: Claims) -> Result<Identity, BadToken> {
    let scopes = claims.scope.as_deref().unwrap_or_default();
    let user = claims.sub.and_then(|it| it.parse().ok());
    if scopes.split(' ').any(|it| it == ADMIN) {
        return Ok(Identity::Admin(user));
    }
    user.map(Identity::User).ok_or(BadToken("sub is no user id"))
}

/// Makes a token for development, signed with `jwt_secret`, for so many seconds.
pub fn mint(settings: &Settings, user: UserId, admin: bool, seconds: u64) -> Result<String, WrongSetting> {
    if !settings.jwt_keys.as_os_str().is_empty() {
        let value = settings.jwt_keys.display().to_string();
        let allowed = "nothing: tokens are made with jwt_secret, since a file of public keys signs none";
        return Err(WrongSetting { key: "jwt_keys".to_owned(), value, allowed: allowed.to_owned() });
    }
    // As an engine with this secret would check it, whatever `auth` is just now.
    let settings = Settings { auth: Auth::Jwt, ..settings.clone() };
    Tokens::load(&settings)?;
    let now = jsonwebtoken::get_current_timestamp();
    let claims = Minted {
        sub: user.to_string(),
        aud: &settings.jwt_audience,
        iss: &settings.jwt_issuer,
        iat: now,
        exp: now.saturating_add(seconds),
        scope: admin.then_some(ADMIN),
    };
    let key = EncodingKey::from_secret(settings.jwt_secret.expose().as_bytes());
    Ok(encode(&Header::new(Algorithm::HS256), &claims, &key).expect("plain claims are signed"))
}

fn bad(kind: &ErrorKind) -> BadToken {
    BadToken(match kind {
        ErrorKind::InvalidSignature => "the signature is wrong",
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "its time has not begun",
        ErrorKind::InvalidAudience => "another audience",
        ErrorKind::InvalidIssuer => "another issuer",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            "exp, aud or iss is missing or of a wrong type"
        }
        _ => "it is malformed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Passphrase;

    fn settings() -> Settings {
        Settings {
            auth: Auth::Jwt,
            jwt_secret: Passphrase::new("a secret that only this test knows"),
            jwt_audience: "shop".to_owned(),
            jwt_issuer: "https://id.example".to_owned(),
            ..Settings::default()
        }
    }

    #[test]
    fn a_minted_token_is_accepted() {
        let (settings, user) = (settings(), UserId::new(7).unwrap());
        let tokens = Tokens::load(&settings).unwrap().unwrap();
        let verified = |admin, seconds| tokens.verify(&mint(&settings, user, admin, seconds).unwrap());
        assert_eq!(verified(false, 60), Ok(Identity::User(user)));
        assert_eq!(verified(true, 60), Ok(Identity::Admin(UserId::new(7).ok())));
        assert_eq!(verified(true, u64::MAX), Ok(Identity::Admin(UserId::new(7).ok())));
        assert_eq!(tokens.verify("a.b"), Err(BadToken("it is malformed")));
    }

    #[test]
    fn a_scope_is_a_whole_word() {
        let of = |sub: Option<&str>, scope: &str| {
            identity_of(Claims { sub: sub.map(str::to_owned), scope: Some(scope.to_owned()) })
        };
        let user = Ok(Identity::User(UserId::new(7).unwrap()));
        for scope in ["", "administrator", "Admin", "no-admin", "orders admins", "admin,orders"] {
            assert_eq!(of(Some("7"), scope), user, "{scope}");
        }
        for (sub, scope) in
            [(Some("7"), "orders admin"), (Some("back office"), "admin"), (None, "admin orders")]
        {
            let id = sub.and_then(|it| it.parse().ok());
            assert_eq!(of(sub, scope), Ok(Identity::Admin(id)), "{scope}");
        }
        for sub in [None, Some(""), Some("0"), Some("07"), Some("+7"), Some("7.0"), Some("9007199254740992")]
        {
            assert!(of(sub, "orders").is_err(), "{sub:?}");
        }
    }
}
