//! What several of these tests ask, and the program that they ask as a process of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::client::PATIENCE;
use crate::support::dns;

/// A cluster of one service.
pub(super) const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: Service
metadata: {namespace: demo, name: web}
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1]
  ports: [{name: http, port: 80, protocol: TCP}]
"#;

/// `cairn` as a process; it ends with the handle. `CAIRN_BINARY` names another build of it.
pub(super) struct Program {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Program {
    /// Starts with [`CLUSTER`] and these directives below it, and waits until it answers.
    pub(super) fn start(directives: &str) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let port = crate::program::free_port();
        fs::write(folder.path().join("cluster.yaml"), CLUSTER).unwrap();
        let corefile = format!(
            ".:{port} {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n manifests cluster.yaml\n}}\n{directives}\n}}\n"
        );
        fs::write(folder.path().join("Corefile"), corefile).unwrap();
        let named = std::env::var_os("CAIRN_BINARY").map(PathBuf::from);
        let binary = named.unwrap_or_else(|| env!("CARGO_BIN_EXE_cairn").into());
        let binary = fs::canonicalize(binary).expect("the program has been built");
        let child = Command::new(binary)
            .current_dir(folder.path())
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let program = Program {
            child,
            port,
            _folder: folder,
        };
        let began = Instant::now();
        let answers = || dns::ask(program.address(), super::lie::WEB, "A");
        while answers().as_deref() != Some("NOERROR 10.96.0.1") {
            assert!(began.elapsed() < PATIENCE, "it does not answer");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        program
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The memory that it holds at this moment, in KiB.
    pub(super) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let figure = line.unwrap().split_whitespace().nth(1);
        figure.unwrap().parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
