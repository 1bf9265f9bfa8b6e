//! Integration tests on real servers: one binary, so that the servers start once.

mod cell_dump;
mod contract;
mod engine_process;
mod routes;
mod test_app;
mod test_clock;
mod test_servers;
mod tokens;
mod wire;

mod answers;
mod bad_input;
mod balance_charge;
mod commands;
mod connections;
mod cors;
mod coupon_issue;
mod engine_kill;
mod forgetting;
mod history;
mod identity;
mod identity_keys;
mod identity_settings;
mod limits;
mod order_place;
mod problems;
mod product_set;
mod purchase;
mod ranking;
mod recovery;
mod script_headers;
mod secrets;
mod slow_clients;
mod watermark;
mod workers;
mod write_behind;
