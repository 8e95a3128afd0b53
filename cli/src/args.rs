//! The command line as a whole.

use clap::{Parser, Subcommand};

use crate::commands::{
    bench, brokers, check, configs, consume, control, down, log_dump, logs, produce, quorum, sim,
    status, storage, topics, trace, up,
};
use crate::node::{self, NodeArgs};
use crate::report::Failure;

/// A Kafka cluster in which the code that runs is the code that is model-checked
///
/// Exit codes: 0 done, 1 it failed, 2 wrong usage, 3 a check found a violation.
#[derive(Debug, Parser)]
#[command(name = "kraft", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    Status(status::StatusArgs),
    Down(down::DownArgs),
    Logs(logs::LogsArgs),
    Kill(control::KillArgs),
    Pause(control::PauseArgs),
    Resume(control::ResumeArgs),
    Restart(control::RestartArgs),
    #[command(hide = true)]
    Supervise(up::SuperviseArgs),
    Node(NodeArgs),
    Storage(storage::StorageArgs),
    Topics(topics::TopicsArgs),
    Quorum(quorum::QuorumArgs),
    Brokers(brokers::BrokersArgs),
    Configs(configs::ConfigsArgs),
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    Log(log_dump::LogArgs),
    Check(check::CheckArgs),
    Trace(trace::TraceArgs),
    Sim(sim::SimArgs),
    Bench(bench::BenchArgs),
}

impl Cli {
    pub fn run(&self) -> Result<(), Failure> {
        match &self.command {
            Command::Up(args) => up::run(args),
            Command::Status(args) => status::run(args),
            Command::Down(args) => down::run(args),
            Command::Logs(args) => logs::run(args),
            Command::Kill(args) => control::kill(args),
            Command::Pause(args) => control::pause(args),
            Command::Resume(args) => control::resume(args),
            Command::Restart(args) => control::restart(args),
            Command::Supervise(args) => up::supervise(args),
            Command::Node(args) => node::run(args),
            Command::Storage(args) => storage::run(args),
            Command::Topics(args) => topics::run(args),
            Command::Quorum(args) => quorum::run(args),
            Command::Brokers(args) => brokers::run(args),
            Command::Configs(args) => configs::run(args),
            Command::Produce(args) => produce::run(args),
            Command::Consume(args) => consume::run(args),
            Command::Log(args) => log_dump::run(args),
            Command::Check(args) => check::run(args),
            Command::Trace(args) => trace::run(args),
            Command::Sim(args) => sim::run(args),
            Command::Bench(args) => bench::run(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_forms_are_understood() {
        let forms = [
            "up --controllers 1 --brokers 2 --detach --port 9092 --set log.flush=before-ack",
            "up --combined 3 --no-restart",
            "up --controllers 3 --brokers 0",
            "status --output json --dir d",
            "kill 4 --stay-down",
            "node --config f --set a=b",
            "storage format --cluster-id TWtVM09FVkJOVGN3TlRKRQ --config f",
            "storage format -t TWtVM09FVkJOVGN3TlRKRQ -c f --standalone",
            "storage format -t TWtVM09FVkJOVGN3TlRKRQ -c f --no-initial-controllers",
            "storage format -t TWtVM09FVkJOVGN3TlRKRQ -c f --initial-controllers \
             1@h:1:TWtVM09FVkJOVGN3TlRKRQ,2@h:2:TWtVM09FVkJOVGN3TlRKRQ",
            "quorum add-voter 4 --bootstrap-controller 127.0.0.1:19092 --output json",
            "quorum remove-voter 4 --directory-id TWtVM09FVkJOVGN3TlRKRQ --bootstrap h:1",
            "storage random-uuid",
            "topics create t --partitions 3 --replication-factor 3 --config retention.ms=1",
            "topics list --bootstrap 127.0.0.1:9092 --output json",
            "quorum status --output json --bootstrap-controller 127.0.0.1:19092,127.0.0.1:19093",
            "configs alter topic t --set retention.ms=1 --delete cleanup.policy",
            "produce t --key-separator : --acks all --compression zstd --partition 1",
            "consume t --from-beginning --partition 0 --max-messages 5 --exit-at-end --print-key",
            "log dump f --records",
            "check --list",
            "check quorum --mutate all",
            "trace replay d f --until 5 --output json",
            "trace replay d --at 7 --show effects",
            "trace replay d --step",
            "trace show d --machine 4/orders-0 --from 5 --effects",
            "sim --seeds 10 --first 5 --steps 1000 --threads 2",
            "sim --seed 7 --shrink --story f --without ring,kill --without-strikes 3,4",
            "sim --mutate all --report f --output json",
            "bench produce t --records 1000 --size 100",
            "bench latency t --rate 1000 --seconds 5",
        ];
        for form in forms {
            let words = std::iter::once("kraft").chain(form.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "kraft {form}");
        }
    }

    #[test]
    fn contradictions_are_wrong_usage() {
        let forms = [
            "up --combined 3 --brokers 2",
            "consume t --offset 5",
            "trace replay",
            "trace replay d --show event",
            "trace show d --machine orders-0",
            "consume t --offset 5 --partition 0 --from-beginning",
            "produce t --acks maybe",
            "topics list --bootstrap-server nonsense",
            "topics list --bootstrap-server host:0",
            "storage format -t TWtVM09FVkJOVGN3TlRKRQ -c f --standalone --no-initial-controllers",
            "storage format -t TWtVM09FVkJOVGN3TlRKRQ -c f --initial-controllers 1@h:1",
            "quorum add-voter",
            "quorum status --bootstrap-controller a:1 --bootstrap-server b:1",
        ];
        for form in forms {
            let words = std::iter::once("kraft").chain(form.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "kraft {form}");
        }
    }
}
