//! Listeners: names, protocols, what is bound and what is told to others.

use std::collections::{BTreeMap, BTreeSet};

use kraft_model::metadata::{Endpoint, SecurityProtocol};

use super::Roles;
use super::endpoint::{self, Listener};
use super::load::Reader;

/// Why a listener that other hosts can reach is refused.
pub(super) const EXPOSED: &str = "other hosts could reach this, and kraft neither encrypts nor authenticates yet; bind a \
     loopback address (127.0.0.1, [::1], localhost), or set allow.plaintext=true (--allow-plaintext)";

/// What a node with these roles binds, and what it tells others.
#[derive(Default)]
pub(super) struct Listeners {
    pub bound: Vec<Endpoint>,
    pub advertised: Vec<Endpoint>,
    pub inter_broker: String,
    pub controllers: Vec<String>,
}

pub(super) fn read(reader: &mut Reader, roles: Roles) -> Listeners {
    let controllers = upper(reader.list("controller.listener.names"));
    let protocols = protocols(reader, &controllers);
    let bound = parsed(reader, "listeners", &protocols);
    check_names(reader, roles, &bound, &controllers);
    let bound = on_loopback(reader, bound);
    let advertised = advertised(reader, &bound, &controllers, &protocols);
    let inter_broker = inter_broker(reader, roles, &advertised, &controllers);
    Listeners { bound, advertised, inter_broker, controllers }
}

fn upper(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| name.to_ascii_uppercase()).collect()
}

type Protocols = BTreeMap<String, SecurityProtocol>;

fn protocol(name: &str) -> Option<SecurityProtocol> {
    match name {
        "PLAINTEXT" => Some(SecurityProtocol::Plaintext),
        "SSL" => Some(SecurityProtocol::Ssl),
        "SASL_PLAINTEXT" => Some(SecurityProtocol::SaslPlaintext),
        "SASL_SSL" => Some(SecurityProtocol::SaslSsl),
        _ => None,
    }
}

/// As in Kafka: without a map each protocol is its own listener name, and a controller listener of
/// another name is plaintext.
fn protocols(reader: &mut Reader, controllers: &[String]) -> Protocols {
    const KEY: &str = "listener.security.protocol.map";
    if reader.is_given(KEY) {
        let form = "NAME:PROTOCOL, the protocol being PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
        let pair = |text: &str| {
            let (name, of) = text.split_once(':')?;
            Some((name.trim().to_ascii_uppercase(), protocol(&of.trim().to_ascii_uppercase())?))
        };
        return reader.parsed(KEY, form, pair).into_iter().collect();
    }
    let own = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), protocol(name)?)));
    let mut all: Protocols =
        controllers.iter().map(|name| (name.clone(), SecurityProtocol::Plaintext)).collect();
    all.extend(own);
    all
}

fn parsed(reader: &mut Reader, key: &'static str, protocols: &Protocols) -> Vec<Endpoint> {
    let listeners = reader.parsed(key, endpoint::LISTENER_FORM, endpoint::listener);
    let mut names = BTreeSet::new();
    let mut places = BTreeSet::new();
    let mut endpoints = Vec::new();
    for Listener { name, host, port } in listeners {
        if !names.insert(name.clone()) {
            reader.conflict(key, format!("listener {name} stands twice"));
        }
        if key == "listeners" && port != 0 && !places.insert((host.clone(), port)) {
            reader.conflict(key, format!("port {port} is bound twice"));
        }
        let protocol = match protocols.get(&name) {
            Some(SecurityProtocol::Plaintext) => SecurityProtocol::Plaintext,
            Some(other) => {
                let why = format!("listener {name} is {other:?}; kraft speaks only PLAINTEXT yet");
                reader.conflict(key, why);
                *other
            }
            None => {
                let why = format!(
                    "listener {name} has no protocol; add {name}:PLAINTEXT to \
                     listener.security.protocol.map"
                );
                reader.conflict(key, why);
                SecurityProtocol::Plaintext
            }
        };
        endpoints.push(Endpoint { listener: name, host, port, protocol });
    }
    endpoints
}

/// Which listeners a node of these roles must and must not have.
fn check_names(reader: &mut Reader, roles: Roles, bound: &[Endpoint], controllers: &[String]) {
    let is_controllers = |endpoint: &Endpoint| controllers.contains(&endpoint.listener);
    if controllers.is_empty() {
        let why = "say which listener the controllers are reached at, e.g. CONTROLLER";
        return reader.missing("controller.listener.names", why);
    }
    if roles.controller && !bound.iter().any(is_controllers) {
        let why =
            format!("a controller must bind one of its listeners ({})", controllers.join(", "));
        reader.conflict("listeners", why);
    }
    if roles.controller && !roles.broker {
        for endpoint in bound.iter().filter(|&endpoint| !is_controllers(endpoint)) {
            let name = &endpoint.listener;
            let why = format!(
                "{name} is not among controller.listener.names, and this node is no broker"
            );
            reader.conflict("listeners", why);
        }
    }
    if roles.broker && !roles.controller {
        for endpoint in bound.iter().filter(|&endpoint| is_controllers(endpoint)) {
            let name = &endpoint.listener;
            reader.conflict("listeners", format!("{name} is the controllers', and this is none"));
        }
    }
    if roles.broker && bound.iter().all(is_controllers) {
        reader.conflict("listeners", "a broker needs a listener for its clients");
    }
}

/// Without `allow.plaintext` only this machine may reach a listener. One without a host, as in the
/// file that comes with Kafka, is then bound to loopback rather than to every interface.
fn on_loopback(reader: &mut Reader, mut bound: Vec<Endpoint>) -> Vec<Endpoint> {
    if reader.flag("allow.plaintext") {
        return bound;
    }
    for endpoint in &mut bound {
        if endpoint.host.is_empty() {
            let name = &endpoint.listener;
            let message = format!("{name} has no host: bound to 127.0.0.1 without allow.plaintext");
            reader.warn("listeners", message);
            endpoint.host = "127.0.0.1".to_owned();
        } else if !endpoint::is_loopback(&endpoint.host) {
            reader.conflict("listeners", format!("{}: {EXPOSED}", endpoint.listener));
        }
    }
    bound
}

/// What is told to others: as given, and the bound ones for listeners that it does not name.
fn advertised(
    reader: &mut Reader,
    bound: &[Endpoint],
    controllers: &[String],
    protocols: &Protocols,
) -> Vec<Endpoint> {
    const KEY: &str = "advertised.listeners";
    let mut advertised = parsed(reader, KEY, protocols);
    let given = !advertised.is_empty();
    for Endpoint { listener, host, .. } in &advertised {
        if !bound.iter().any(|endpoint| endpoint.listener == *listener) {
            reader.conflict(KEY, format!("{listener} is not among listeners"));
        }
        if endpoint::is_wildcard(host) {
            reader.conflict(KEY, format!("{listener}: nobody can dial '{host}'; name a host"));
        }
    }
    for endpoint in bound {
        let named = advertised.iter().any(|other| other.listener == endpoint.listener);
        if named || (given && !controllers.contains(&endpoint.listener)) {
            continue;
        }
        let mut endpoint = endpoint.clone();
        if endpoint::is_wildcard(&endpoint.host) {
            endpoint.host = "localhost".to_owned();
            let message = format!("{}: told to clients as localhost", endpoint.listener);
            reader.warn(KEY, message);
        }
        advertised.push(endpoint);
    }
    advertised
}

/// As in Kafka PLAINTEXT unless another is named; with a single listener, that one.
fn inter_broker(
    reader: &mut Reader,
    roles: Roles,
    advertised: &[Endpoint],
    controllers: &[String],
) -> String {
    const KEY: &str = "inter.broker.listener.name";
    let of_brokers: Vec<&str> = advertised
        .iter()
        .map(|endpoint| endpoint.listener.as_str())
        .filter(|name| !controllers.iter().any(|controller| controller == name))
        .collect();
    let chosen = match reader.text(KEY) {
        Some(name) => name.to_ascii_uppercase(),
        None if of_brokers.len() == 1 => of_brokers[0].to_owned(),
        None => "PLAINTEXT".to_owned(),
    };
    if roles.broker && controllers.contains(&chosen) {
        reader.conflict(KEY, format!("{chosen} is the controllers' listener"));
    } else if roles.broker && !of_brokers.is_empty() && !of_brokers.contains(&chosen.as_str()) {
        let why = format!("expected one of the advertised listeners ({})", of_brokers.join(", "));
        reader.conflict(KEY, why);
    }
    chosen
}
