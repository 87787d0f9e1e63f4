//! A Kubernetes API server for tests: it lists and watches what the test puts into it, over real HTTP/1.1, HTTP/2 and
//! TLS on 127.0.0.1, and fails in each way that the test orders. JSON only, read-only over HTTP.
//!
//!     test → ApiServer → state (store, switches, faults, ledger) ← list, watch ← server ← wire ← client
//!
//! It runs on a thread of its own, so a test may block or use any runtime, and it knows nothing of the client. The
//! handle is cheap to clone; the server ends with the last clone. Nothing is driven by time, except `timeoutSeconds`,
//! `bookmark_every`, `Fault::trickle` and the deadline of the waits.

mod discovery;
mod faults;
mod identity;
mod kubeconfig;
mod ledger;
mod list;
mod manifest;
mod options;
mod resource;
mod selector;
mod server;
mod state;
mod status;
mod store;
mod stream;
mod watch;
mod wire;

mod control;
mod observe;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

pub(crate) use faults::{Cut, Fault};
pub(crate) use identity::Transport;
pub(crate) use kubeconfig::Login;
pub(crate) use ledger::{Request, Verb};
pub(crate) use state::{Future, LimitAtZero, TooOld, WatchList};
pub(crate) use wire::Mute;

use identity::Identity;
use resource::Resource;
use state::Shared;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The handle of a running server.
#[derive(Clone)]
pub(crate) struct ApiServer {
    shared: Arc<Shared>,
    life: Arc<Life>,
}

/// What ends with the last handle.
struct Life {
    runtime: Option<Runtime>,
    address: SocketAddr,
    /// Bound, never listening: keeps the port ours while the server is stopped.
    _reserved: Socket,
    listening: Mutex<Option<Listening>>,
    /// None for plain HTTP.
    identity: Mutex<Option<Identity>>,
    folder: TempDir,
}

struct Listening {
    stop: oneshot::Sender<()>,
    stopped: mpsc::Receiver<()>,
}

impl ApiServer {
    /// An empty cluster behind plain HTTP.
    pub(crate) fn start() -> Self {
        Self::start_with(Transport::Http)
    }

    /// An empty cluster.
    pub(crate) fn start_with(transport: Transport) -> Self {
        let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = reserved
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .expect("it is bound to IPv4");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .thread_name("apiserver")
            .enable_all()
            .build();
        let server = Self {
            shared: Arc::new(Shared::new()),
            life: Arc::new(Life {
                runtime: Some(runtime.expect("a thread can be started")),
                address,
                _reserved: reserved,
                listening: Mutex::default(),
                identity: Mutex::new(Identity::new(transport)),
                folder: TempDir::new().expect("there is a temporary folder"),
            }),
        };
        server.write_authority();
        server.start_again();
        server
    }

    /// Closes the port and every connection, as a process that was killed; the objects stay.
    pub(crate) fn stop(&self) {
        let listening = self
            .life
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Listening { stop, stopped }) = listening {
            // An error in either means that the task is gone, which is what we want.
            let _ = stop.send(());
            let _ = stopped.recv();
        }
    }

    /// Listens on the same port again.
    pub(crate) fn start_again(&self) {
        self.stop();
        let socket = bind(self.life.address);
        socket
            .listen(BACKLOG)
            .and_then(|()| socket.set_nonblocking(true))
            .expect("the port is ours");
        let (stop, stopping) = oneshot::channel();
        let (done, stopped) = mpsc::channel();
        let shared = Arc::clone(&self.shared);
        let tls = self.identity(|identity| identity.map(|identity| identity.acceptor.clone()));
        let runtime = self
            .life
            .runtime
            .as_ref()
            .expect("it is taken by drop alone");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(socket.into()).expect("it is a listening socket");
            server::serve(listener, shared, tls, stopping).await;
            // Nobody may wait for it.
            let _ = done.send(());
        });
        let mut listening = self
            .life
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *listening = Some(Listening { stop, stopped });
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.life.address
    }

    /// `http://127.0.0.1:PORT` or `https://…`.
    pub(crate) fn url(&self) -> String {
        let secure = self.identity(|identity| identity.is_some());
        kubeconfig::url(self.life.address, secure)
    }

    /// The certificate that a client must trust; None for plain HTTP.
    pub(crate) fn ca_pem(&self) -> Option<String> {
        self.identity(|identity| identity.map(|identity| identity.ca_pem.clone()))
    }

    /// The cluster gives itself a new authority: its file is rewritten, and the server begins again with a certificate of
    /// the new one. Nothing of the old one is left.
    pub(crate) fn rotate_authority(&self) {
        self.stop();
        let new = Identity::new(Transport::Https);
        *self
            .life
            .identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = new;
        self.write_authority();
        self.start_again();
    }

    fn write_authority(&self) {
        if let Some(pem) = self.ca_pem() {
            let file = self.life.folder.path().join(kubeconfig::AUTHORITY_FILE);
            fs::write(file, pem).expect("the folder is ours");
        }
    }

    fn identity<R>(&self, reader: impl FnOnce(Option<&Identity>) -> R) -> R {
        let identity = self.life.identity.lock();
        reader(identity.unwrap_or_else(PoisonError::into_inner).as_ref())
    }

    /// A kubeconfig with the context `lab` and, inline, the token that is required at this moment.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let token = self.shared.look(|state| state.token.clone());
        self.kubeconfig_with(token.as_deref().map_or(Login::Anonymous, Login::Token))
    }

    /// A kubeconfig with the context `lab`. With TLS it holds the CA and a client certificate; with `Login::TokenFile` it
    /// names the file of the CA, as it lies beside the token in a Pod.
    pub(crate) fn kubeconfig_with(&self, login: Login<'_>) -> PathBuf {
        self.identity(|identity| {
            kubeconfig::write(self.life.folder.path(), self.life.address, identity, login)
        })
    }

    /// The file that a kubeconfig with `Login::TokenFile` names; it exists after `rotate_token`.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.life.folder.path().join(kubeconfig::TOKEN_FILE)
    }

    /// Only requests with this bearer token are answered; all others get 401. None: no token is asked for.
    pub(crate) fn require_token(&self, token: Option<&str>) {
        self.shared
            .change(|state| state.token = token.map(str::to_owned));
    }

    /// Writes `token` into the token file, then requires it.
    pub(crate) fn rotate_token(&self, token: &str) {
        fs::write(self.token_file(), token).expect("the folder is ours");
        self.require_token(Some(token));
    }

    /// Creates or replaces an object, found by kind, namespace and name; every call makes a new resourceVersion, which
    /// it returns, and an event. Panics on an object of no known kind or without a name.
    pub(crate) fn apply(&self, object: Value) -> u64 {
        self.shared.change(|state| state.store.apply(object))
    }

    /// Deletes an object (`namespace` is empty for those of the cluster); returns the resourceVersion of the deletion.
    /// Panics where there is no such object.
    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) -> u64 {
        self.shared.change(|state| {
            state
                .store
                .delete(Resource::named(resource), namespace, name)
        })
    }

    /// Applies every object of a manifest, in its order: YAML of one or several documents, or JSON, `List`s included.
    /// Returns how many there were.
    pub(crate) fn load(&self, manifest: &str) -> usize {
        let objects = manifest::objects(manifest);
        let count = objects.len();
        self.shared.change(|state| {
            for object in objects {
                state.store.apply(object);
            }
        });
        count
    }

    /// The newest resourceVersion.
    pub(crate) fn version(&self) -> u64 {
        self.shared.look(|state| state.store.version())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test drops its handle inside its own runtime, where waiting for another one is forbidden.
            runtime.shutdown_background();
        }
    }
}

/// A port of ours: SO_REUSEADDR lets the listener of each start share it with the socket that reserves it.
fn bind(address: SocketAddr) -> Socket {
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|socket| {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    });
    bound.unwrap_or_else(|fault| panic!("cannot bind {address}: {fault}"))
}
