//! The Corefiles that distributions of Kubernetes ship, in `tests/data/corefiles`: each loads as it is, or is refused
//! for nothing but directives and properties that are not built.

use std::collections::BTreeSet;

use cairn_dns::{
    config::{self, Loaded, listen::DNS_PORT},
    corefile::{Location, Memory},
};

use super::pending::absent;

/// Where the ConfigMap is mounted.
const COREFILE: &str = "/etc/coredns/Corefile";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Their names, their texts, and what they need that is not built.
const DISTRIBUTIONS: &[(&str, &str, &[&str])] = &[
    (
        "kubeadm",
        include_str!("../../data/corefiles/kubeadm.Corefile"),
        &[],
    ),
    (
        "EKS",
        include_str!("../../data/corefiles/eks.Corefile"),
        &[],
    ),
    (
        "kops",
        include_str!("../../data/corefiles/kops.Corefile"),
        &[],
    ),
    (
        "k0s",
        include_str!("../../data/corefiles/k0s.Corefile"),
        &[],
    ),
    (
        "the Helm chart",
        include_str!("../../data/corefiles/helm.Corefile"),
        &[],
    ),
    (
        "coredns/deployment",
        include_str!("../../data/corefiles/deployment.Corefile"),
        &[],
    ),
    (
        "microk8s",
        include_str!("../../data/corefiles/microk8s.Corefile"),
        &[],
    ),
    (
        "minikube",
        include_str!("../../data/corefiles/minikube.Corefile"),
        &["hosts"],
    ),
    (
        "k3s",
        include_str!("../../data/corefiles/k3s.Corefile"),
        &["hosts"],
    ),
    (
        "AKS",
        include_str!("../../data/corefiles/aks.Corefile"),
        &["template"],
    ),
    (
        "OpenShift",
        include_str!("../../data/corefiles/openshift.Corefile"),
        &["chaos"],
    ),
    (
        "NodeLocal DNSCache",
        include_str!("../../data/corefiles/nodelocal.Corefile"),
        &[],
    ),
    (
        "Gardener",
        include_str!("../../data/corefiles/gardener.Corefile"),
        &["rewrite"],
    ),
    (
        "Huawei CCE",
        include_str!("../../data/corefiles/huawei-cce.Corefile"),
        &[],
    ),
    (
        "Alibaba ACK",
        include_str!("../../data/corefiles/alibaba-ack.Corefile"),
        &["autopath"],
    ),
];

/// Loads a Corefile in a Pod that has what those of the distributions have.
fn load(corefile: &str) -> Loaded {
    let outside = Memory::new()
        .file(COREFILE, corefile)
        .file("/etc/coredns/NodeHosts", "10.0.0.1 node-1\n")
        .file("/etc/resolv.conf", "nameserver 10.0.0.2\n")
        .file(format!("{SERVICE_ACCOUNT}/token"), "token")
        .file(format!("{SERVICE_ACCOUNT}/ca.crt"), "")
        .set("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        .set("KUBERNETES_SERVICE_PORT", "443")
        .set("POD_IP", "10.244.0.5");
    config::load(&outside, &Location::Path(COREFILE.into()), DNS_PORT)
}

/// What is not built, by its name, or the whole fault if it is another one.
fn needed(loaded: &Loaded) -> BTreeSet<String> {
    let errors = loaded.diagnostics.iter().filter(|fault| fault.is_error());
    let needed = errors.map(|fault| match absent(fault) {
        Some(word) => word.to_owned(),
        None => fault.one_line(&loaded.sources),
    });
    needed.collect()
}

#[test]
fn each_corefile_of_a_distribution_needs_exactly_what_the_table_says() {
    let mut wrong = Vec::new();
    for (name, corefile, absent) in DISTRIBUTIONS {
        let loaded = load(corefile);
        let needed = needed(&loaded);
        let expected: BTreeSet<String> = absent.iter().map(|word| (*word).to_owned()).collect();
        if needed != expected || loaded.config.is_some() != absent.is_empty() {
            wrong.push(format!("{name}: needs {needed:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
