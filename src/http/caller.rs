//! Who calls, and for whom they may act.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::AppState;
use super::problem::Problem;
use crate::config::{Auth, Settings};
use crate::ids::UserId;

/// The caller of a request. Extracting one refuses nobody: a refusal comes from the questions below,
/// which a handler asks once the request's syntax was checked (the contract's order).
#[derive(Debug, Clone, Copy)]
pub enum Caller {
    /// `auth = "none"`: everybody may act for everybody, and is an administrator.
    Anybody,
}

impl Caller {
    /// The user whose wallet or order is meant, if the caller may act for them.
    pub fn acting_for(self, user: UserId) -> Result<UserId, Problem> {
        match self {
            Self::Anybody => Ok(user),
        }
    }

    /// The user whose orders alone are theirs; `None`: everybody's.
    pub fn only_for(self) -> Option<UserId> {
        match self {
            Self::Anybody => None,
        }
    }

    /// Lets everybody pass who is somebody.
    pub fn is_known(self) -> Result<(), Problem> {
        match self {
            Self::Anybody => Ok(()),
        }
    }

    /// Lets those pass who may put money into wallets.
    pub fn moves_money(self, _settings: &Settings) -> Result<(), Problem> {
        match self {
            Self::Anybody => Ok(()),
        }
    }

    /// Lets administrators pass.
    pub fn administers(self) -> Result<(), Problem> {
        match self {
            Self::Anybody => Ok(()),
        }
    }
}

impl FromRequestParts<Arc<AppState>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &Arc<AppState>) -> Result<Self, Infallible> {
        match app.settings.auth {
            Auth::None => Ok(Self::Anybody),
        }
    }
}
