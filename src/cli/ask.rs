//! The subcommands that ask a running server, and how they reach it.
//!
//! A server is found by its socket (`admin::socket`) among those of this network namespace. One that runs in a process
//! namespace of its own cannot be told by its id, so where some are processes that we see, only those count.

mod cache;
mod explain;
mod find;
mod request;
mod text;
mod top;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use self::request::Server;
use crate::admin::words;

/// Which server is asked, and how its answer is printed.
#[derive(Debug, Args)]
pub(super) struct Asking {
    /// Process id of the server, if several run here
    #[arg(long, value_name = "N")]
    pid: Option<u32>,
    /// How the answer is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Output,
    /// The same as `-o json`
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// One JSON object
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The name to ask for
    #[arg(value_name = "NAME", value_parser = a_name)]
    name: String,
    /// The type, by its mnemonic or as TYPE65
    #[arg(value_name = "TYPE", default_value = "A", value_parser = a_type)]
    rtype: String,
    /// The client that asks
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// Of several listeners the one at this address
    #[arg(long, value_name = "IP")]
    server: Option<IpAddr>,
    /// Of several listeners the one at this port
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Top {
    /// What to tell apart; more than once for more [default: all four]
    #[arg(long, value_name = "KIND")]
    by: Vec<Kind>,
    /// How many of each
    #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 10)]
    count: usize,
    #[command(flatten)]
    asking: Asking,
}

/// What queries are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The name that is asked for
    Name,
    /// The Namespace in names of the cluster
    Namespace,
    /// The address that asks
    Client,
    /// The response code
    Rcode,
}

#[derive(Debug, Subcommand)]
pub(super) enum Cache {
    /// Show what is kept of a name, in all caches
    Show {
        /// The name
        #[arg(value_name = "NAME", value_parser = a_name)]
        name: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Take a name out of all caches, so that the next query asks upstream
    Flush {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        asking: Asking,
    },
}

/// What is taken out.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The name, with all its types
    #[arg(value_name = "NAME", value_parser = a_name)]
    name: Option<String>,
    /// All names in this zone
    #[arg(long, value_name = "ZONE", value_parser = a_name)]
    zone: Option<String>,
    /// All that is kept
    #[arg(long)]
    all: bool,
}

/// What the server could not read is a fault of the command line.
fn a_name(text: &str) -> Result<String, String> {
    words::name(text).map(|_| text.to_owned())
}

fn a_type(text: &str) -> Result<String, String> {
    words::rtype(text).map(|_| text.to_owned())
}

/// `cairn explain`.
pub(super) fn explain(asked: &Explain) -> ExitCode {
    answered(&asked.asking, |server| explain::run(server, asked))
}

/// `cairn top`.
pub(super) fn top(asked: &Top) -> ExitCode {
    answered(&asked.asking, |server| top::run(server, asked))
}

/// `cairn cache show` and `cairn cache flush`.
pub(super) fn cache(asked: &Cache) -> ExitCode {
    match asked {
        Cache::Show { name, asking } => answered(asking, |server| cache::show(server, name)),
        Cache::Flush { which, asking } => answered(asking, |server| cache::flush(server, which)),
    }
}

/// An answer, and as it is printed for people.
struct Told<T> {
    answer: T,
    text: String,
}

/// Asks the server that is meant, and prints what it says.
fn answered<T: Serialize>(
    asking: &Asking,
    ask: impl FnOnce(&Server) -> Result<Told<T>, String>,
) -> ExitCode {
    let told = find::server(asking.pid).and_then(|server| ask(&server));
    let told = told.and_then(|told| {
        if asking.json || asking.output == Output::Json {
            let text = serde_json::to_string_pretty(&told.answer);
            text.map(|text| text + "\n")
                .map_err(|fault| fault.to_string())
        } else {
            Ok(told.text)
        }
    });
    match told {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(fault) => super::begin::failed(&fault),
    }
}
