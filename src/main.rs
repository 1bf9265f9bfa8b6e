//! The `firstcome` command.

mod cli;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    // TLS for all three servers goes through this one provider.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nobody installed another one before");
    cli::run(cli::Cli::parse())
}
