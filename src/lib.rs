//! firstcome: a Redis-first commerce engine for flash sales.

pub mod cell;
pub mod config;
pub mod event;
pub mod idempotency;
pub mod ids;
pub mod money;
pub mod node;
pub mod order;
pub mod product;
pub mod scripts;
pub mod time;
