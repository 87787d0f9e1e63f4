//! Cairn in the test process, as `cairn` runs it, but for the log, the signals and where it reads its configuration.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use cairn_dns::{
    app::{App, AppError},
    cluster::Pace,
    config::{self, Config},
    corefile::{Location, Outside},
    generation::Process,
    ops::{Monitor, Report},
    telemetry::{lines::Lines, log::LogFormat},
};
use futures_util::FutureExt;
use tokio::runtime::Runtime;

/// A server that is not ready by then never will be; half a second is what a busy machine takes.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A running server; it ends with the handle.
pub(crate) struct Server {
    app: App,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves the configuration `Corefile` of `outside`. Panics with all that is wrong with it.
    pub(crate) fn start(outside: &dyn Outside) -> Server {
        Server::start_at(Pace::default(), outside)
    }

    /// Likewise, looking after clusters at this pace.
    pub(crate) fn start_at(pace: Pace, outside: &dyn Outside) -> Server {
        let config = load(outside);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .thread_name("cairn")
            .enable_all()
            .build()
            .expect("a thread can be started");
        let app = runtime.block_on(App::start(config, process(&runtime, pace)));
        Server {
            app: app.unwrap_or_else(|fault| panic!("{fault}")),
            runtime: Some(runtime),
        }
    }

    /// Where its one listener is reached over loopback.
    pub(crate) fn address(&self) -> SocketAddr {
        let addresses = self.app.addresses();
        let [(_, address)] = addresses.as_slice() else {
            panic!("not one listener: {addresses:?}");
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    }

    /// Serves the configuration `Corefile` of `outside` from now on.
    pub(crate) fn reload(&mut self, outside: &dyn Outside) {
        self.try_reload(outside)
            .unwrap_or_else(|fault| panic!("{fault}"));
    }

    /// Likewise, if it can be served.
    pub(crate) fn try_reload(&mut self, outside: &dyn Outside) -> Result<(), AppError> {
        let config = load(outside);
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        runtime.block_on(self.app.reload(config))
    }

    /// Likewise, given up where it first waits.
    pub(crate) fn begin_reload(&mut self, outside: &dyn Outside) {
        let config = load(outside);
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        let _on_it = runtime.enter();
        let done = self.app.reload(config).now_or_never();
        assert!(done.is_none(), "it has waited for nothing");
    }

    /// The address of the listener that is bound to this one.
    pub(crate) fn address_at(&self, ip: Ipv4Addr) -> Option<SocketAddr> {
        let addresses = self.app.addresses().into_iter();
        let mut addresses = addresses.map(|(_, address)| address);
        addresses.find(|address| address.ip() == ip)
    }

    /// What `/metrics` says.
    pub(crate) fn metrics(&self) -> String {
        self.app.process().metrics.render()
    }

    /// What keeps `/ready` from saying so.
    pub(crate) fn ready_report(&self) -> String {
        format!("{:?}", self.app.readiness().report(Monitor::Continuously))
    }

    /// What `/ready` says beside.
    pub(crate) fn ready_remarks(&self) -> Vec<String> {
        self.app.readiness().remarks()
    }

    /// Returns when `/ready` would say so.
    pub(crate) fn wait_until_ready(&self) {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self.app.readiness().report(Monitor::Continuously) {
                Report::Ready => return,
                report => assert!(Instant::now() < deadline, "not ready: {report:?}"),
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test drops its handle inside its own runtime, where waiting for another one is forbidden.
            runtime.shutdown_background();
        }
    }
}

fn load(outside: &dyn Outside) -> Config {
    let loaded = config::load(outside, &Location::Default, config::listen::DNS_PORT);
    loaded.config.unwrap_or_else(|| {
        let faults = loaded.diagnostics.iter();
        let faults: String = faults.map(|fault| fault.render(&loaded.sources)).collect();
        panic!("{faults}");
    })
}

/// A process whose log goes nowhere.
fn process(runtime: &Runtime, pace: Pace) -> Process {
    let (lines, _) = Lines::start(LogFormat::Text, io::sink()).expect("a thread can be started");
    let mut process = Process::new(runtime.handle().clone(), lines);
    process.listener.udp_threads = 1;
    process.clusters.set_pace(pace);
    process
}
