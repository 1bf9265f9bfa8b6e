//! Who calls, and for whom they may act.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

use super::AppState;
use super::problem::{Problem, ProblemKind};
use crate::config::{Auth, Settings};
use crate::identity::{Identity, Tokens};
use crate::ids::UserId;

/// The caller of a request. Extracting one refuses nobody: a refusal comes from the questions below,
/// which a handler asks once the request's syntax was checked (the contract's order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// `auth = "none"`: everybody may act for everybody, and is an administrator.
    Anybody,
    /// Acts for themself.
    User(UserId),
    /// Acts for everybody, and is nobody by themself; whoever they are, their keys are theirs.
    Admin(Option<UserId>),
    /// Nobody that is known; may do nothing.
    Stranger(Stranger),
}

/// Why nobody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    NoToken,
    BadToken,
}

impl Caller {
    /// The caller by the request's `Authorization`.
    pub fn of(headers: &HeaderMap, tokens: &Tokens) -> Self {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (given.next(), given.next()) {
            (None, _) => return Self::Stranger(Stranger::NoToken),
            (Some(value), None) => bearer(value),
            (Some(_), Some(_)) => None,
        };
        let Some(token) = token else { return Self::Stranger(Stranger::BadToken) };
        match tokens.verify(token) {
            Ok(Identity::User(user)) => Self::User(user),
            Ok(Identity::Admin(sub)) => Self::Admin(sub),
            Err(reason) => {
                tracing::debug!(%reason, "a token was not accepted");
                Self::Stranger(Stranger::BadToken)
            }
        }
    }

    /// Lets everybody pass who is known: for what is the same for all of them.
    pub fn known(self) -> Result<(), Problem> {
        match self {
            Self::Anybody | Self::User(_) | Self::Admin(_) => Ok(()),
            Self::Stranger(why) => Err(why.into()),
        }
    }

    /// The user whose wallet or order is meant, if the caller may act for them.
    pub fn acting_for(self, user: UserId) -> Result<UserId, Problem> {
        self.reaches(user, ProblemKind::UserNotFound).map(|()| user)
    }

    /// The same where the user may be left out: then they are the caller. `missing` is the answer where that is
    /// nobody.
    pub fn acting_for_or_self(
        self,
        user: Option<UserId>,
        missing: impl FnOnce() -> Problem,
    ) -> Result<UserId, Problem> {
        match (user, self) {
            (Some(user), _) => self.acting_for(user),
            (None, Self::User(user)) => Ok(user),
            (None, Self::Anybody | Self::Admin(_)) => Err(missing()),
            (None, Self::Stranger(why)) => Err(why.into()),
        }
    }

    /// The same for `userId` in a body.
    pub fn acting_for_named(self, user: Option<UserId>) -> Result<UserId, Problem> {
        self.acting_for_or_self(user, || Problem::at("#/userId", "is required"))
    }

    /// Lets those pass who may see what is `owner`'s; for all others there is no such thing.
    pub fn reaches(self, owner: UserId, no_such_thing: ProblemKind) -> Result<(), Problem> {
        match self {
            Self::Anybody | Self::Admin(_) => Ok(()),
            Self::User(user) if user == owner => Ok(()),
            Self::User(_) => Err(no_such_thing.into()),
            Self::Stranger(why) => Err(why.into()),
        }
    }

    /// The user whose orders alone are theirs; `None`: everybody's.
    pub fn only_for(self) -> Result<Option<UserId>, Problem> {
        match self {
            Self::Anybody | Self::Admin(_) => Ok(None),
            Self::User(user) => Ok(Some(user)),
            Self::Stranger(why) => Err(why.into()),
        }
    }

    /// Whose idempotency keys those of an administrator's call are.
    pub fn key_scope(self) -> Option<UserId> {
        match self {
            Self::Admin(sub) => sub,
            Self::Anybody | Self::User(_) | Self::Stranger(_) => None,
        }
    }

    /// Lets administrators pass.
    pub fn administers(self) -> Result<(), Problem> {
        match self {
            Self::Anybody | Self::Admin(_) => Ok(()),
            Self::User(_) => Err(ProblemKind::Forbidden.into()),
            Self::Stranger(why) => Err(why.into()),
        }
    }

    /// Lets those pass who may put money into a wallet: charge, or refund.
    pub fn puts_money(self, settings: &Settings) -> Result<(), Problem> {
        match self {
            Self::User(_) if settings.self_service => Ok(()),
            Self::Anybody | Self::Admin(_) | Self::User(_) | Self::Stranger(_) => self.administers(),
        }
    }
}

/// The token of `Bearer <token>`.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

impl From<Stranger> for Problem {
    fn from(why: Stranger) -> Self {
        // RFC 6750 §3: who brought no token is told no error.
        let challenge = match why {
            Stranger::NoToken => "Bearer",
            Stranger::BadToken => "Bearer error=\"invalid_token\"",
        };
        let challenge = (header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        Self::new(ProblemKind::Unauthenticated).with_header(challenge)
    }
}

impl FromRequestParts<Arc<AppState>> for Caller {
    type Rejection = Infallible;

    /// The edge has looked at the token. Where it did not, nobody is known.
    async fn from_request_parts(parts: &mut Parts, app: &Arc<AppState>) -> Result<Self, Infallible> {
        Ok(match app.settings.auth {
            Auth::None => Self::Anybody,
            Auth::Jwt => parts.extensions.get().copied().unwrap_or(Self::Stranger(Stranger::NoToken)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_behind_its_scheme() {
        let token = |text: &'static str| bearer(&HeaderValue::from_static(text)).map(str::to_owned);
        for text in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(token(text).as_deref(), Some("a.b.c"), "{text}");
        }
        for text in ["", "Bearer", "a.b.c", "Basic a.b.c", "Bearera.b.c", "Token a.b.c"] {
            assert_eq!(token(text), None, "{text}");
        }
    }
}
