//! firstcome: a Redis-first commerce engine for flash sales.

pub mod app;
pub mod audit;
pub mod cell;
pub mod config;
pub mod coupon;
pub mod dev;
pub mod event;
pub mod http;
pub mod idempotency;
pub mod identity;
pub mod ids;
pub mod ledger;
pub mod message;
pub mod money;
pub mod mysql;
pub mod node;
pub mod order;
pub mod product;
pub mod rabbitmq;
pub mod ranking;
pub mod scripts;
pub mod seed;
pub mod telemetry;
pub mod time;
pub mod watermark;
pub mod worker;
