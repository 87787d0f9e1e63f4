//! What each server is told: to serve the same data, with one worker, and to write no log of it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use super::Data;
use crate::process::{free_port, loopback};

/// What clusters run, with ports that need no root. The same for Cairn and CoreDNS.
pub(super) fn corefile(port: u16, kubeconfig: &Path, upstream: SocketAddr) -> String {
    let stanza = format!("kubeconfig {} lab", kubeconfig.display());
    corefile_with(port, &stanza, "insecure", upstream).0
}

/// With this source and this mode of pods; also says where it is ready.
pub(crate) fn corefile_with(
    port: u16,
    source: &str,
    pods: &str,
    upstream: SocketAddr,
) -> (String, SocketAddr) {
    let (ready, metrics) = (free_port(), free_port());
    let text = format!(
        ".:{port} {{
    bind 127.0.0.1
    errors
    ready 127.0.0.1:{ready}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        {source}
        pods {pods}
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus 127.0.0.1:{metrics}
    forward . {upstream}
    cache 30
    loop
    loadbalance
}}
"
    );
    (text, loopback(ready))
}

pub(super) fn knot(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "server:
    listen: 127.0.0.1@{port}
    rundir: {folder}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: {folder}
template:
  - id: default
    storage: {folder}
    file: %s.zone
    zonefile-sync: -1
    journal-content: none
zone:
  - domain: cluster.local
  - domain: in-addr.arpa
"
    )
}

pub(super) fn nsd(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "server:
    ip-address: 127.0.0.1@{port}
    server-count: 1
    username: \"\"
    chroot: \"\"
    zonesdir: {folder}
    database: \"\"
    pidfile: {folder}/pid
    xfrdfile: {folder}/xfrd
    xfrdir: {folder}
    zonelistfile: {folder}/zones
    tcp-count: 200
    rrl-ratelimit: 0
    round-robin: yes
    minimal-responses: yes
    verbosity: 0
remote-control:
    control-enable: no
zone:
    name: cluster.local
    zonefile: cluster.local.zone
zone:
    name: in-addr.arpa
    zonefile: in-addr.arpa.zone
"
    )
}

pub(super) fn unbound(folder: &Path, port: u16, data: &Data<'_>) -> String {
    let upstream = data.upstream;
    let mut text = format!(
        "server:
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    num-threads: 1
    do-daemonize: no
    chroot: \"\"
    username: \"\"
    directory: \"{}\"
    pidfile: \"\"
    use-syslog: no
    verbosity: 0
    module-config: \"iterator\"
    do-not-query-localhost: no
    do-ip6: no
    outgoing-range: 4096
    num-queries-per-thread: 4096
    incoming-num-tcp: 200
    so-rcvbuf: 0
    local-zone: \"cluster.local.\" static
    local-zone: \"in-addr.arpa.\" static
",
        folder.display()
    );
    for line in data.records {
        let _ = writeln!(text, "    local-data: '{line}'");
    }
    let _ = write!(
        text,
        "remote-control:
    control-enable: no
forward-zone:
    name: \".\"
    forward-addr: {}@{}
",
        upstream.ip(),
        upstream.port()
    );
    text
}
