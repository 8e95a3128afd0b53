//! `kraft check MODEL --explore ADDRESS`: stateright's Explorer on one model.

use std::net::SocketAddr;

use kraft_model::check::Configuration;

use crate::output::notice;
use crate::report::{Context, Failure};

/// Serves until it is interrupted.
pub fn run(chosen: &[Configuration], address: SocketAddr) -> Result<(), Failure> {
    let [model] = chosen else {
        let names: Vec<_> = chosen.iter().map(|model| model.name).collect();
        return Err(Failure::usage("the Explorer shows one model at a time")
            .next(format!("name one of: {}", names.join(", "))));
    };
    // Tried here, because the Explorer would only panic.
    std::net::TcpListener::bind(address)
        .doing(|| format!("cannot listen on {address}"))
        .map(drop)?;
    notice(&format!("{} at http://{address}/ (Ctrl-C ends it)", model.name));
    (model.serve)(address);
    Ok(())
}
