use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use tokio::runtime::Handle;

use super::*;
use crate::config::{self, listen::DNS_PORT};
use crate::corefile::{Location, Memory};
use crate::server;
use crate::telemetry::lines::Lines;
use crate::telemetry::log::LogFormat;

/// Long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than there are addresses.
const NO_STACK: usize = 1 << 60;
/// For the addresses of example.org.
const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";

fn load(corefile: &str) -> Config {
    let files = Memory::new().file("Corefile", corefile);
    let loaded = config::load(&files, &Location::Default, DNS_PORT);
    loaded.config.expect("it has no fault")
}

/// A process whose log goes nowhere.
fn process() -> Process {
    let (lines, _) = Lines::start(LogFormat::Text, io::sink()).unwrap();
    Process::new(Handle::current(), lines)
}

/// None of those that the kernel gives away.
fn free_port() -> u16 {
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::UNSPECIFIED, *port).into();
        Listener::bind(address, server::Config::default()).is_ok()
    };
    let mut ports = std::iter::repeat_with(|| rand::random_range(10_000..32_000));
    ports.find(is_free).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_without_a_thread_for_a_new_address_loses_no_query_of_the_old_one() {
    let port = free_port();
    let serving_at = |bind: &str| load(&format!("example.org:{port} {{\n {bind}\n whoami\n}}\n"));
    let mut app = App::start(serving_at(""), process()).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let client = thread::spawn({
        let (is_over, answered) = (is_over.clone(), answered.clone());
        move || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, port))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            while !is_over.load(Ordering::Relaxed) {
                socket.send(QUERY)?;
                socket.recv(&mut [0; 512])?;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            io::Result::Ok(())
        }
    });
    let stack = std::mem::replace(&mut app.process.listener.udp_stack, NO_STACK);
    for _ in 0..100 {
        let before = answered.load(Ordering::Relaxed);
        // The kernel would prefer the new sockets for what is sent to their one address.
        let fault = app.reload(serving_at("bind 127.0.0.1")).await.unwrap_err();
        assert!(matches!(fault, AppError::Thread { .. }), "{fault}");
        while answered.load(Ordering::Relaxed) == before && !client.is_finished() {
            tokio::task::yield_now().await;
        }
    }
    app.process.listener.udp_stack = stack;
    app.reload(serving_at("bind 127.0.0.1")).await.unwrap();
    is_over.store(true, Ordering::Relaxed);
    client.join().unwrap().expect("each query is answered");
}
