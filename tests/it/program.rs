//! The program as an operator meets it: flags, what it prints, signals, exit codes, reloads.

mod reloads;
mod signals;
mod start;

/// Answers everything with the code of a chain that ends; `marker` makes texts differ.
fn corefile(marker: &str) -> String {
    format!(
        "example.org.:PORT {{\n    bind 127.0.0.1\n    whoami\n}}\n{marker}.test.:PORT {{\n    bind 127.0.0.1\n    whoami\n}}\n"
    )
}
