//! The command line: `cairn` serves, `cairn check` reads a Corefile and says what is wrong with it, and others ask a server
//! that runs (`ask`).
//!
//! The flags are CoreDNS's, written as Go programs take them: one dash or two, `=` or a blank before the value.
//! What is printed for people is printed here and in the rooms below; everything else is logged.

mod ask;
mod begin;
mod check;
mod descriptors;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::listen::DNS_PORT;
use crate::plugin::ORDER;
use crate::telemetry::log::LogFormat;

/// The version of CoreDNS whose Corefiles and answers are ours.
const COREDNS_VERSION: &str = "1.14.7";

/// Exit code for a command line that cannot be understood, as Go's flag package has it.
const USAGE: u8 = 2;

/// A cluster DNS server for Kubernetes: a drop-in replacement for CoreDNS.
#[derive(Debug, Parser)]
#[command(
    name = "cairn",
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    args_override_self = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read Corefiles and everything that they import, and say all that is wrong; open no socket, ask no API
    Check {
        /// Corefiles to check [default: ./Corefile]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Port of server blocks that name none
        #[arg(long = "dns.port", short = 'p', value_name = "N", default_value_t = DNS_PORT)]
        dns_port: u16,
    },
    /// Say why a name is answered as it is, by a server that runs here
    ///
    /// Asks as if a client had sent the question over UDP, with EDNS, and prints what each plugin decided. No metric of
    /// clients and no line of the log counts it; what it asks of upstreams, and what a cache keeps of that, is real.
    Explain(ask::Explain),
    /// Show which names, Namespaces, clients and response codes a server has most of
    ///
    /// Of the last half minute to minute, by a sample of one query in 64. SHARE is what is certain of the sample, AT
    /// MOST what it may be: the two differ by 0.4 % at the most.
    Top(ask::Top),
    /// Show what a server keeps of answers, or have it forget them
    #[command(subcommand)]
    Cache(ask::Cache),
}

/// Serve (the default)
#[derive(Debug, Args)]
struct Serve {
    /// Corefile to load, or `stdin` [default: ./Corefile]
    #[arg(long, value_name = "FILE")]
    conf: Option<String>,
    /// Port of server blocks that name none
    #[arg(long = "dns.port", short = 'p', value_name = "N", default_value_t = DNS_PORT)]
    dns_port: u16,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// List the plugins that are built, and exit
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, value_name = "BOOL", hide_default_value = true, hide_possible_values = true)]
    plugins: bool,
    /// Do not print what is served at start
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, value_name = "BOOL", hide_default_value = true, hide_possible_values = true)]
    quiet: bool,
    /// Show the version, and exit
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, value_name = "BOOL", hide_default_value = true, hide_possible_values = true)]
    version: bool,
    /// Keep the last Corefile that could be served here, and serve it if at the start the Corefile cannot be
    #[arg(long, value_name = "FILE")]
    last_good: Option<PathBuf>,
    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// None is known; CoreDNS refuses them with words of its own
    #[arg(hide = true, trailing_var_arg = true)]
    extra: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// `[INFO] plugin/reload: …`, as CoreDNS writes them
    Text,
    /// One JSON object a line
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> LogFormat {
        match format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        }
    }
}

/// Runs the program with these arguments, the first of which is its own name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let command = Cli::command();
    let args = normalized(args);
    let cli = match command
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => cli,
        Err(fault) => {
            let failed = fault.use_stderr();
            // Nobody is left to tell if this cannot be printed.
            let _ = fault.print();
            return if failed {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.command {
        Some(Command::Check { files, dns_port }) => check::run(&files, dns_port),
        Some(Command::Explain(asked)) => ask::explain(&asked),
        Some(Command::Top(asked)) => ask::top(&asked),
        Some(Command::Cache(asked)) => ask::cache(&asked),
        None if !cli.serve.extra.is_empty() => {
            let extra = cli.serve.extra.join(" ");
            begin::failed(&format!("extra command line arguments: [{extra}]"))
        }
        None if cli.serve.version => print(&version()),
        None if cli.serve.plugins => print(&plugins()),
        None => serve::run(&cli.serve),
    }
}

/// Writes flags as clap takes them: a long name behind one dash gets its second.
fn normalized(args: Vec<OsString>) -> Vec<OsString> {
    let long = |arg: OsString| match arg.to_str() {
        Some(text)
            if text.starts_with('-')
                && !text.starts_with("--")
                && text.len() > 2
                && !text.starts_with("-p=") =>
        {
            OsString::from(format!("-{text}"))
        }
        _ => arg,
    };
    args.into_iter().map(long).collect()
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What `-version` shows, and the start as its last lines.
fn version() -> String {
    let (name, (os, arch)) = (env!("CARGO_PKG_VERSION"), platform());
    format!("Cairn-{name}\n{os}/{arch}, answers as CoreDNS-{COREDNS_VERSION}")
}

/// Operating system and processor as Go names them, because that is what tools compare.
fn platform() -> (&'static str, &'static str) {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (std::env::consts::OS, arch)
}

fn plugins() -> String {
    let built = ORDER.iter().filter(|name| crate::config::is_built(name));
    let lines: Vec<String> = built.map(|name| format!("  dns.{name}")).collect();
    format!("Other plugins:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_as_go_takes_them() {
        for (line, conf, port) in [
            (
                "cairn -conf Corefile -dns.port 1053",
                Some("Corefile"),
                1053,
            ),
            (
                "cairn --conf=Corefile --dns.port=1053",
                Some("Corefile"),
                1053,
            ),
            ("cairn -conf=stdin -p 1053", Some("stdin"), 1053),
            ("cairn -p=1053", None, 1053),
            ("cairn -quiet", None, 53),
            ("cairn -quiet=true -conf a -conf b", Some("b"), 53),
        ] {
            let args = normalized(line.split(' ').map(OsString::from).collect());
            let cli = Cli::try_parse_from(args).unwrap_or_else(|fault| panic!("{line}: {fault}"));
            assert_eq!(
                (cli.serve.conf.as_deref(), cli.serve.dns_port),
                (conf, port),
                "{line}"
            );
        }
    }

    #[test]
    fn what_coredns_refuses_is_refused() {
        for line in [
            "cairn -conf",
            "cairn -validate",
            "cairn -dns.port x",
            "cairn -v=2",
        ] {
            let args = normalized(line.split(' ').map(OsString::from).collect());
            assert!(Cli::try_parse_from(args).is_err(), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_declared_without_contradiction() {
        Cli::command().debug_assert();
    }
}
