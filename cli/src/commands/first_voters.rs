//! Whom a dynamic quorum begins with: the flags of `kraft storage format` (KIP-853).

use std::path::{Path, PathBuf};

use kraft_model::{NodeId, ReplicaKey};
use kraft_node::config::{NodeConfig, Sources, Voter, parse_voter};
use kraft_node::storage::{VoterEndpoint, VoterNode};

use crate::ids::random_id;
use crate::report::Failure;

/// Kafka's flags. A controller whose configuration names no controller.quorum.voters needs one.
#[derive(Clone, Debug, clap::Args)]
#[group(multiple = false)]
pub struct QuorumFlags {
    /// This controller is the first and only voter of a new quorum, which can grow
    #[arg(long, short)]
    standalone: bool,
    /// The first voters of a new quorum, the same on each of them; this node is one
    #[arg(
        long,
        short = 'I',
        value_name = "ID@HOST:PORT:DIRECTORY-ID",
        value_delimiter = ',',
        value_parser = first_voter
    )]
    initial_controllers: Vec<VoterNode>,
    /// This controller joins a quorum that exists, as an observer: see 'kraft quorum add-voter'
    #[arg(long, short = 'N')]
    no_initial_controllers: bool,
}

/// What a node's directories are formatted with.
pub struct FirstVoters {
    /// Where the metadata log will be, this node's directory id there if it was chosen before, and
    /// who votes first.
    metadata: Option<(PathBuf, String, Vec<VoterNode>)>,
}

fn first_voter(text: &str) -> Result<VoterNode, String> {
    match parse_voter(text) {
        Some(Voter { id, host, port, directory: Some(directory) }) => Ok(VoterNode {
            key: ReplicaKey { id, directory },
            endpoints: vec![VoterEndpoint { name: String::new(), host, port }],
        }),
        _ => {
            Err("expected ID@HOST:PORT:DIRECTORY-ID ('kraft storage random-uuid' makes one)".into())
        }
    }
}

impl FirstVoters {
    /// The directory id of `dir`, and the voters that its log begins with.
    pub fn of(&self, dir: &Path) -> (String, &[VoterNode]) {
        match &self.metadata {
            Some((path, id, voters)) if path == dir => (id.clone(), voters),
            _ => (random_id(), &[]),
        }
    }
}

impl QuorumFlags {
    /// Checks the flags against the configuration.
    pub fn first_voters(&self, config: &Path) -> Result<FirstVoters, Failure> {
        let failed = || Failure::usage("cannot format the directories");
        let sources = Sources::of_process(Some(config.to_owned()), Vec::new());
        let config = match NodeConfig::load(&sources) {
            Ok((config, _)) => config,
            // What else is wrong with it is reported when the node starts.
            Err(_) if !self.is_given() => return Ok(FirstVoters { metadata: None }),
            Err(errors) => return Err(failed().because(errors)),
        };
        if self.is_given() && !config.voters.is_empty() {
            return Err(failed()
                .because(
                    "controller.quorum.voters in the configuration makes the quorum a static one",
                )
                .next("take it out, and name controller.quorum.bootstrap.servers instead"));
        }
        if !config.roles.controller {
            return match self.standalone || !self.initial_controllers.is_empty() {
                true => Err(failed().because("only a controller can be a voter")),
                false => Ok(FirstVoters { metadata: None }),
            };
        }
        if !self.is_given() && config.voters.is_empty() {
            return Err(failed()
                .because("the configuration has no controller.quorum.voters, so the quorum is a dynamic one")
                .next(
                    "pass --standalone or --initial-controllers for a new quorum, or \
                     --no-initial-controllers for a controller that joins one",
                ));
        }
        self.of_controller(&config)
    }

    fn is_given(&self) -> bool {
        self.standalone || self.no_initial_controllers || !self.initial_controllers.is_empty()
    }

    fn of_controller(&self, config: &NodeConfig) -> Result<FirstVoters, Failure> {
        let (id, dir) = (config.node_id, config.metadata_log_dir.clone());
        if self.standalone {
            return standalone(config, dir);
        }
        if self.initial_controllers.is_empty() {
            return Ok(FirstVoters { metadata: None });
        }
        let name = config.controller_listeners.first().cloned().unwrap_or_default();
        let mut voters = self.initial_controllers.clone();
        for endpoint in voters.iter_mut().flat_map(|voter| &mut voter.endpoints) {
            endpoint.name.clone_from(&name);
        }
        let ids: std::collections::BTreeSet<NodeId> = voters.iter().map(|v| v.key.id).collect();
        if ids.len() < voters.len() || voters.len() > kraft_model::limits::MAX_VOTERS {
            let most = kraft_model::limits::MAX_VOTERS;
            return Err(Failure::usage("cannot format the directories")
                .because(format!("--initial-controllers names an id twice, or more than {most}")));
        }
        match voters.iter().find(|voter| voter.key.id == id) {
            Some(own) => {
                let directory = own.key.directory.to_string();
                Ok(FirstVoters { metadata: Some((dir, directory, voters)) })
            }
            None => Err(Failure::usage("cannot format the directories")
                .because(format!("node.id {id} is not among --initial-controllers"))
                .next("pass --no-initial-controllers on a node that joins later")),
        }
    }
}

fn standalone(config: &NodeConfig, dir: PathBuf) -> Result<FirstVoters, Failure> {
    let failed = || Failure::usage("cannot format the directories");
    let directory = random_id();
    let key = ReplicaKey {
        id: config.node_id,
        directory: directory.parse().map_err(|error| failed().because(error))?,
    };
    let endpoints = config.controller_endpoints().filter(|at| at.port > 0);
    let endpoints: Vec<_> = endpoints
        .map(|at| VoterEndpoint { name: at.listener.clone(), host: at.host.clone(), port: at.port })
        .collect();
    if endpoints.is_empty() {
        return Err(failed()
            .because("it is not known where other controllers will reach this one")
            .next("name host and port of its controller listener in advertised.listeners"));
    }
    let voters = vec![VoterNode { key, endpoints }];
    Ok(FirstVoters { metadata: Some((dir, directory, voters)) })
}
