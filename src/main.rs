//! The `cairn` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cairn_dns::cli::main(std::env::args_os().collect())
}
