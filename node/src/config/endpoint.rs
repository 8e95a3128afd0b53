//! Addresses as Kafka writes them: listeners, voters, bootstrap servers.

use std::net::IpAddr;

use kraft_model::NodeId;

use super::Voter;

/// `NAME://host:port` before its protocol is known. An empty host means every interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listener {
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// The form of a listener, for error messages.
pub(super) const LISTENER_FORM: &str =
    "NAME://host:port, with an IPv6 address in brackets, e.g. PLAINTEXT://[::1]:9092";
pub(super) const VOTER_FORM: &str =
    "id@host:port or id@host:port:directory-id, e.g. 1@localhost:9093";
pub(super) const ADDRESS_FORM: &str = "host:port, with an IPv6 address in brackets";

pub(super) fn listener(text: &str) -> Option<Listener> {
    let (name, address) = text.split_once("://")?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || !name.bytes().all(legal) {
        return None;
    }
    let (host, port) = host_port(address)?;
    Some(Listener { name: name.to_ascii_uppercase(), host, port })
}

/// A voter as `controller.quorum.voters` names it: `id@host:port`, or with its directory id behind.
pub fn voter(text: &str) -> Option<Voter> {
    let (id, address) = text.split_once('@')?;
    let id = id.parse().ok().filter(|&id: &i32| id >= 0).map(NodeId)?;
    if let Some((host, port)) = host_port(address).filter(|(host, _)| !host.is_empty()) {
        return Some(Voter { id, host, port, directory: None });
    }
    let (address, directory) = address.rsplit_once(':')?;
    let (host, port) = host_port(address).filter(|(host, _)| !host.is_empty())?;
    Some(Voter { id, host, port, directory: Some(directory.parse().ok()?) })
}

/// `host:port`; the host may be empty, and comes without its brackets.
pub(super) fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => {
            let address = bracketed.strip_suffix(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            address
        }
        None if host.contains([':', '/', '@', ']', ' ']) => return None,
        None => host,
    };
    Some((host.to_owned(), port))
}

/// Whether only this machine can reach what is bound to `host`. Names other than `localhost` are
/// not looked up: what they mean may change after the check.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether `host` is "every interface", which nobody can dial.
pub(super) fn is_wildcard(host: &str) -> bool {
    host.is_empty() || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_a_name_a_host_and_a_port() {
        let expect = |text: &str, host: &str, port| {
            let listener = listener(text).expect(text);
            assert_eq!((listener.host.as_str(), listener.port), (host, port), "{text}");
        };
        expect("PLAINTEXT://localhost:9092", "localhost", 9092);
        expect("PLAINTEXT://[::1]:9092", "::1", 9092);
        expect("INTERNAL_2://:0", "", 0);
        for wrong in ["localhost:9092", "A://::1:9092", "A://h", "A://h:99999", "A b://h:1"] {
            assert_eq!(listener(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_voter_may_pin_its_directory() {
        let plain = voter("3@[::1]:9093").expect("a voter");
        assert_eq!((plain.id, plain.host.as_str(), plain.directory), (NodeId(3), "::1", None));
        let pinned = voter("3@h:9093:TWtVM09FVkJOVGN3TlRKRQ").expect("a voter");
        assert!(pinned.directory.is_some() && pinned.port == 9093);
        for wrong in ["3", "-1@h:1", "3@:9093", "3@h:9093:short", "x@h:1"] {
            assert_eq!(voter(wrong), None, "{wrong}");
        }
    }
}
