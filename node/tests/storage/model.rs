//! The log against a vector of batches: the same answers, whatever is done to both.

use kraft_model::log::Log;
use kraft_model::replica::DataLog;
use kraft_model::{LeaderEpoch, Offset};
use kraft_node::storage::{OpenState, PartitionLog, Records};

use crate::support::{Home, Random, batch, small};

/// Base, end and epoch of each batch that is kept.
#[derive(Default)]
struct Expected {
    batches: Vec<(i64, i64, i32)>,
    /// Where the first of them begins.
    base: i64,
    start: i64,
    end: i64,
}

impl Expected {
    /// A batch goes as a whole; if the log starts inside it, nothing is left but where to go on.
    fn truncate(&mut self, to: i64) {
        self.batches.retain(|(_, end, _)| *end <= to);
        let starts_inside = self.batches.is_empty() && self.start > self.base;
        self.start = if starts_inside { to } else { self.start };
        self.end = self.batches.last().map_or(self.start, |(_, end, _)| *end);
        self.base = self.batches.first().map_or(self.start, |(base, ..)| *base);
    }

    fn advance_start(&mut self, start: i64) {
        self.start = start;
        self.batches.retain(|(_, end, _)| *end > start);
        self.base = self.batches.first().map_or(start, |(base, ..)| *base);
    }

    fn end_of(&self, epoch: i32) -> (i32, i64) {
        match self.batches.iter().rfind(|(_, _, e)| *e <= epoch) {
            Some((_, end, e)) => (*e, *end),
            None => (epoch, self.start),
        }
    }
}

fn check(log: &PartitionLog, expected: &Expected, random: &mut Random, context: &str) {
    assert!(log.failure().is_none(), "{context}: {:?}", log.failure());
    assert_eq!((log.start().0, log.end().0), (expected.start, expected.end), "{context}");
    assert_eq!(log.last_epoch(), expected.batches.last().map_or(log.last_epoch(), |b| b.2));
    for _ in 0..3 {
        let span = (expected.end - expected.start).max(1) as u64;
        let from = expected.start + random.below(span) as i64;
        let max_bytes = random.below(3000) as usize;
        let below = expected.start + random.below(span + 2) as i64;
        let bytes = log.read(Offset(from), max_bytes, Offset(below)).unwrap().run().unwrap();
        let first = expected.batches.iter().find(|(_, end, _)| *end > from);
        let wanted = first.filter(|(base, _, _)| from < below && *base < below);
        match wanted {
            None => assert!(bytes.is_empty(), "{context}: read {from} below {below}"),
            Some(first) => {
                let records = Records::parse(bytes).unwrap();
                assert_eq!((records.base.0, from < records.end.0), (first.0, true), "{context}");
                let last = records.batches().last().unwrap().1;
                assert!(last.base.0 < below, "{context}");
                let more = records.bytes.len() <= max_bytes || records.batches().count() == 1;
                assert!(more, "{context}");
            }
        }
    }
    if let Some(last) = expected.batches.last() {
        let epoch = random.below(last.2 as u64 + 2) as i32;
        let found = log.end_of_epoch(epoch);
        let wanted = expected.end_of(epoch);
        if wanted.0 != epoch || expected.batches.iter().any(|b| b.2 == epoch) {
            assert_eq!((found.epoch, found.end.0), wanted, "{context}: epoch {epoch}");
        }
    }
}

fn run(seed: u64) {
    let mut config = small();
    config.segment_bytes = 1500;
    let home = Home::new(config);
    let mut log = home.create();
    let mut random = Random(seed);
    let (mut expected, mut epoch) = (Expected::default(), 0);
    for step in 0..150 {
        let context = format!("seed {seed} step {step}");
        match random.below(20) {
            0..=12 => {
                epoch += i32::from(random.below(8) == 0);
                let count = 1 + random.below(4) as usize;
                let size = [5, 60, 900][random.below(3) as usize];
                log.append_as_leader(LeaderEpoch(epoch), batch(count, size, step));
                let base = expected.end;
                expected.end += count as i64;
                expected.batches.push((base, expected.end, epoch));
            }
            13 => {
                let span = (expected.end - expected.start + 1) as u64;
                let to = (expected.end - random.below(span.min(30)) as i64).max(expected.start);
                log.truncate(Offset(to));
                if to < expected.end {
                    expected.truncate(to);
                    epoch += 1;
                }
            }
            14 => {
                let span = (expected.end - expected.start + 1) as u64;
                let start = expected.start + random.below(span.min(12)) as i64;
                log.advance_start(Offset(start));
                expected.advance_start(start);
            }
            15 => log.flushed_up_to_end(),
            16 => {
                if let Some(job) = log.take_garbage() {
                    job.run().unwrap();
                }
            }
            17 => {
                let state = OpenState { log_start: log.start(), ..OpenState::default() };
                home.close(log);
                log = home.reopen(state).0;
            }
            _ => {
                let state = OpenState {
                    log_start: log.start(),
                    recovery_point: log.flushed(),
                    ..OpenState::default()
                };
                drop(log);
                let (opened, recovery) = home.open(state);
                assert_eq!(recovery.damage, None, "{context}");
                assert_eq!(recovery.truncated_bytes, 0, "{context}");
                log = opened;
            }
        }
        check(&log, &expected, &mut random, &context);
    }
}

trait FlushNow {
    fn flushed_up_to_end(&mut self);
}

impl FlushNow for PartitionLog {
    fn flushed_up_to_end(&mut self) {
        let flushed = self.flush_job().run().unwrap();
        self.flushed_up_to(flushed);
        assert_eq!(self.flushed(), self.end());
    }
}

#[test]
fn a_log_answers_like_a_vector_of_batches_whatever_is_done_to_it() {
    (0..200).for_each(run);
}
