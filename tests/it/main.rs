//! Integration tests on real servers: one binary, so that the servers start once.

mod test_app;
mod test_servers;

mod purchase;
