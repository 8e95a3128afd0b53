//! `kraft check MODEL --explore ADDRESS`: stateright's Explorer on one model.

use std::net::SocketAddr;

use kraft_model::check::Subject;

use super::run::Job;
use crate::output::notice;
use crate::report::{Context, Failure};

/// Serves until it is interrupted.
pub fn run(chosen: &[Job], address: SocketAddr) -> Result<(), Failure> {
    let [job] = chosen else {
        let names: Vec<_> = chosen.iter().map(|job| job.model).collect();
        return Err(Failure::usage("the Explorer shows one model at a time")
            .next(format!("name one of: {}", names.join(", "))));
    };
    serve(job.subject, job.model, "/", address)
}

/// Says at which page it begins.
pub fn serve(subject: Subject, name: &str, page: &str, address: SocketAddr) -> Result<(), Failure> {
    // Tried here, because the Explorer would only panic.
    std::net::TcpListener::bind(address)
        .doing(|| format!("cannot listen on {address}"))
        .map(drop)?;
    notice(&format!("{name} at http://{address}{page} (Ctrl-C ends it)"));
    (subject.serve)(address);
    Ok(())
}
