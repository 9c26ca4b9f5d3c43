//! The network interface that carries the link (device-link §5.2).

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// The name of the interface that has this address; none where no interface has it, or the system does not say.
pub fn of(address: IpAddr) -> Option<String> {
    let address = address.to_canonical();
    let interfaces = getifaddrs().ok()?;
    let ip = |storage: &nix::sys::socket::SockaddrStorage| {
        let four = storage.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
        four.or_else(|| storage.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
    };
    interfaces
        .into_iter()
        .find(|interface| interface.address.as_ref().and_then(ip) == Some(address))
        .map(|interface| interface.interface_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_a_foreign_address_is_not() {
        assert_eq!(of([127, 0, 0, 1].into()).as_deref(), Some("lo"));
        assert_eq!(of("::ffff:127.0.0.1".parse().unwrap()).as_deref(), Some("lo"));
        assert_eq!(of([192, 0, 2, 1].into()), None);
    }
}
