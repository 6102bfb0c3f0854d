//! The addresses of a node, its pods and its Services.

use std::net::Ipv4Addr;
use std::process::Command;

use crate::Failure;
use crate::process::run;

/// Makes an interface with the node's address, as machines in a network have, and a default route, which kube-proxy
/// looks for.
pub(super) fn prepare() -> Result<(), Failure> {
    let address = format!("{ADDRESS}/24");
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", "node0", "type", "veth", "peer", "name", "node1"],
        &["address", "add", &address, "dev", "node0"],
        &["link", "set", "node0", "up"],
        &["link", "set", "node1", "up"],
        &["route", "add", "default", "dev", "node0"],
    ] {
        run(Command::new("ip").args(arguments))?;
    }
    Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?)
}

/// The node's address.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The addresses of pods.
pub(super) const POD_RANGE: &str = "10.88.0.0/16";
/// The address of the Service of `CoreDNS`, which `tests/manifests/node/coredns.yaml` asks for.
pub(super) const DNS: &str = "10.0.0.10";
