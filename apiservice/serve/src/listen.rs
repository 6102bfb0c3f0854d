//! The socket that a server listens on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Listens. An unspecified address, `0.0.0.0` or `::`, means every address of this machine over IPv4 and IPv6, as in
/// Go: probes and clients call a pod by either. Where the kernel has no IPv6, it means those of IPv4. The socket does
/// not block.
///
/// # Errors
/// What the operating system refuses.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        ip if ip.is_unspecified() => match dual_stack(address.port())? {
            Some(socket) => socket,
            None => bound(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, address.port()).into())?,
        },
        IpAddr::V4(_) => bound(Domain::IPV4, address)?,
        IpAddr::V6(_) => bound(Domain::IPV6, address)?,
    };
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket for both families; `None` where the kernel has no IPv6.
fn dual_stack(port: u16) -> io::Result<Option<Socket>> {
    // Refused without IPv6 in the kernel. Other reasons, such as too many open files, come up again with IPv4.
    let Ok(socket) = socket(Domain::IPV6) else { return Ok(None) };
    socket.set_only_v6(false)?;
    match socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into()) {
        Ok(()) => Ok(Some(socket)),
        // IPv6 is there, and no interface has an address of it.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(None),
        Err(error) => Err(error),
    }
}

fn bound(domain: Domain, address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(domain)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server takes its port again while connections of the one before are being closed.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Connections that the kernel keeps until they are accepted, of which it takes as many as `net.core.somaxconn` says.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn an_unspecified_address_takes_both_families() {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let listener = listen(address.parse().expect("an address")).expect("a free port");
            let bound = listener.local_addr().expect("an address");
            if bound.is_ipv4() {
                println!("not run: this kernel has no IPv6");
                continue;
            }
            each_row([IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)], |loopback| {
                let connected = TcpStream::connect((loopback, bound.port()));
                assert!(connected.is_ok(), "{address} does not take {loopback}: {connected:?}");
            });
        }
    }

    #[test]
    fn a_given_address_takes_itself_alone() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let bound = listener.local_addr().expect("an address");
        assert_eq!(bound.ip(), Ipv4Addr::LOCALHOST);
        let taken = listen(bound).expect_err("the port is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
