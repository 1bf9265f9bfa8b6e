//! Replies: arrays of fixed length that begin with an outcome word of the script's header.

use std::sync::LazyLock;

use redis::{RedisError, Value};

use super::load::ScriptError;
use super::text::Script;
use crate::cell::Epoch;

/// An outcome word and what came with it.
pub(super) struct Reply {
    pub outcome: &'static str,
    /// The epoch in which the script ran.
    pub epoch: Epoch,
    script: Script,
    values: Vec<Value>,
}

impl Reply {
    pub fn new(script: Script, epoch: Epoch, value: Value) -> Result<Self, ScriptError> {
        let Value::Array(values) = value else { return Err(malformed(script, "no array")) };
        let outcome = match values.first() {
            Some(Value::BulkString(word)) => {
                std::str::from_utf8(word).ok().and_then(|it| known_outcome(script, it))
            }
            _ => None,
        };
        let outcome = outcome.ok_or_else(|| malformed(script, "unknown outcome"))?;
        Ok(Self { outcome, epoch, script, values })
    }

    pub fn int(&self, index: usize) -> Result<i64, ScriptError> {
        match self.values.get(index) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(malformed(self.script, &format!("item {index} is no integer"))),
        }
    }

    pub fn text(&self, index: usize) -> Result<&str, ScriptError> {
        let text = match self.values.get(index) {
            Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        text.ok_or_else(|| malformed(self.script, &format!("item {index} is no text")))
    }

    /// Takes an item out, for nested arrays.
    pub fn take<T: redis::FromRedisValue>(&mut self, index: usize) -> Result<T, ScriptError> {
        let value = self.values.get_mut(index).map(std::mem::take).unwrap_or_default();
        decode(value).map_err(|error| malformed(self.script, &format!("item {index}: {error}")))
    }

    /// The outcome is one that the binding does not know.
    pub fn unexpected(&self) -> ScriptError {
        malformed(self.script, self.outcome)
    }
}

fn malformed(script: Script, reason: &str) -> ScriptError {
    ScriptError::Failed { script: script.stem(), reason: format!("malformed reply: {reason}") }
}

/// Outcome words as the header of the Lua file lists them, so that a label is never a free text.
fn known_outcome(script: Script, word: &str) -> Option<&'static str> {
    // Read once: each reply looks here.
    static OUTCOMES: LazyLock<Vec<Vec<&str>>> = LazyLock::new(|| {
        let of = |it: &Script| ["CLOSED", "BACKLOG_FULL"].into_iter().chain(header_outcomes(*it)).collect();
        Script::ALL.iter().map(of).collect()
    });
    OUTCOMES[script as usize].iter().find(|it| **it == word).copied()
}

/// The outcomes in a script's RETURNS section: the lines that begin with a word in capitals.
pub fn header_outcomes(script: Script) -> impl Iterator<Item = &'static str> {
    script
        .text()
        .lines()
        .skip_while(|it| !it.starts_with("-- RETURNS"))
        .skip(1)
        .take_while(|it| it.starts_with("--   "))
        .filter_map(|it| it.strip_prefix("--   ")?.split(' ').next())
        .filter(|it| it.len() > 2 && it.bytes().all(|it| it.is_ascii_uppercase() || it == b'_'))
}

pub(super) fn decode<T: redis::FromRedisValue>(value: Value) -> Result<T, RedisError> {
    Ok(T::from_redis_value(value)?)
}
