//! Integration tests on real servers: one binary, so that the servers start once.

mod cell_dump;
mod engine_process;
mod test_app;
mod test_servers;

mod balance_charge;
mod commands;
mod engine_kill;
mod order_place;
mod product_set;
mod purchase;
mod recovery;
mod script_headers;
mod workers;
mod write_behind;
