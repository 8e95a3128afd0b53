#![cfg(feature = "check")]
use kraft_model::check::replica::*;
use kraft_model::check::*;
use kraft_model::{Guard, LeaderEpoch};
#[test]
fn probe() {
    let spec = std::env::var("PROBE").unwrap();
    for one in spec.split(' ') {
        let (cfg, guard) = one.split_once('/').unwrap_or((one, ""));
        let n: Vec<u8> = cfg.bytes().map(|b| b - b'0').collect();
        let guard = Guard::ALL.iter().copied().find(|g| g.name() == guard);
        let model = ReplicaModel {
            rules: Mutated(guard),
            flush: n[7] == 1,
            fetches_in_flight: n[8] == 1,
            max_leader_epoch: LeaderEpoch(n[0] as i32),
            left: Left {
                appends: n[1],
                resends: n[2],
                fences: n[3],
                silences: n[4],
                clean_stops: n[5],
                lossy_stops: n[6],
            },
            ..BASE
        };
        let b = Budget {
            states: std::env::var("STATES").map_or(40_000_000, |s| s.parse().unwrap()),
            threads: 1,
        };
        let out = explore_within(&model, &b);
        println!(
            "{one}: unique {} gen {} depth {} {:.1}s complete {} reached {:?}",
            out.unique_states, out.generated, out.max_depth, out.seconds, out.complete, out.reached
        );
        if let Some(v) = out.violation {
            println!("{v}");
        }
    }
}
#[test]
fn sizes() {
    println!("state {} ", std::mem::size_of::<State>());
}

fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    f[11].parse::<f64>().unwrap() / 100.0
}
