//! Integration tests on real servers: one binary, so that the servers start once.

mod cell_dump;
mod contract;
mod engine_process;
mod test_app;
mod test_clock;
mod test_servers;
mod wire;

mod answers;
mod bad_input;
mod balance_charge;
mod commands;
mod connections;
mod coupon_issue;
mod engine_kill;
mod forgetting;
mod history;
mod model;
mod order_place;
mod pending_orders;
mod problems;
mod product_set;
mod purchase;
mod races;
mod ranking;
mod recovery;
mod script_headers;
mod watermark;
mod workers;
mod write_behind;
