//! Typed binding of `lua/user_create.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::text::Script;
use super::{acknowledged, keys};
use crate::cell::{Position, Seq};
use crate::ids::UserId;
use crate::money::Amount;

/// What can happen when a user is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserCreate {
    Exists { balance: Amount },
    Created { seq: Seq },
}

/// Makes a user with an empty wallet, unless they exist.
///
/// # Errors
/// After [`ScriptError::Unknown`] the user may exist; calling again is safe.
pub async fn user_create(scripts: &Scripts, user: UserId) -> Result<UserCreate, ScriptError> {
    let cell = scripts.cells().of_user(user);
    let reply =
        scripts.call(Script::UserCreate, cell, &[keys::user(cell, user)], &[&user.to_string()]).await?;
    match reply.outcome {
        "EXISTS" => {
            acknowledged::note(cell, Position { epoch: reply.epoch, seq: reply.int(1)? as Seq });
            Ok(UserCreate::Exists { balance: reply.int(2)? })
        }
        "CREATED" => {
            let seq = reply.int(1)? as Seq;
            scripts.acknowledge(cell, reply.epoch, seq)?;
            Ok(UserCreate::Created { seq })
        }
        _ => Err(reply.unexpected()),
    }
}
