//! Generated corruption: whatever is done to the files, opening answers, what can be read is what
//! was written, and nothing that was lost goes unreported.

use kraft_model::Offset;
use kraft_model::log::Log;
use kraft_node::storage::{OpenState, Verdict, scan_segment};

use crate::support::{Home, Random, append, batch, directory, read_all, small};

fn corrupt(home: &Home, random: &mut Random) -> String {
    let mut files = home.files(".log");
    files.extend(home.files("index"));
    files.extend(home.files(".snapshot"));
    files.extend(home.files("leader-epoch-checkpoint"));
    let path = &files[random.below(files.len() as u64) as usize];
    let mut bytes = std::fs::read(path).unwrap();
    let at = random.below(bytes.len().max(1) as u64) as usize;
    let what = random.below(5);
    match what {
        0 => bytes.truncate(at),
        1 => bytes[at..].fill(0),
        2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        3 => bytes.extend((0..random.below(200)).map(|i| (i * 31) as u8)),
        _ => {
            let end = (at + random.below(100) as usize).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        }
    }
    std::fs::write(path, bytes).unwrap();
    format!("{what} at {at} of {}", path.display())
}

#[test]
fn no_corruption_changes_a_record_or_hides_a_loss() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let home = Home::new(small());
        let mut log = home.create();
        for i in 0..10 + random.below(40) as i64 {
            let count = 1 + random.below(3) as usize;
            append(&mut log, (i / 9) as i32, batch(count, random.below(500) as usize, i));
        }
        let whole: Vec<_> = {
            let (mut from, mut all) = (Offset::ZERO, Vec::new());
            while let Some(records) = read_all(&log, from) {
                all.extend(records.batches().map(|(at, b)| records.bytes.slice(at..at + b.size)));
                from = records.end;
            }
            all
        };
        let end = log.end();
        home.close(log);
        let done = corrupt(&home, &mut random);
        let context = format!("seed {seed}: {done}");
        let state = OpenState { recovery_point: end, scan_all: true, ..OpenState::default() };
        let (log, recovery) = home.open(state);
        let (mut from, mut index) = (log.start(), 0);
        while let Some(records) = read_all(&log, from) {
            for (at, batch) in records.batches() {
                let bytes = records.bytes.slice(at..at + batch.size);
                // The leader epoch is the one field that no checksum covers.
                assert_eq!(bytes[..12], whole[index][..12], "{context}");
                assert_eq!(bytes[16..], whole[index][16..], "{context}");
                index += 1;
            }
            from = records.end;
        }
        assert_eq!(from, log.end(), "{context}");
        assert_eq!(log.end() < end, recovery.damage.is_some(), "{context}: {recovery:?}");
        drop(log);
        let (again, recovery) = home.crash();
        assert_eq!((again.end(), recovery.damage), (from, None), "{context}: the second start");
    }
}

#[test]
fn a_scan_takes_any_bytes() {
    let dir = directory();
    let path = dir.path().join("segment");
    let valid = batch(2, 100, 1).bytes;
    for seed in 0..2000 {
        let mut random = Random(seed);
        let mut bytes = Vec::new();
        for _ in 0..random.below(5) {
            match random.below(3) {
                0 => bytes.extend_from_slice(&valid),
                1 => bytes.extend((0..random.below(150)).map(|_| random.0 as u8)),
                _ => bytes.extend_from_slice(&valid[..random.below(valid.len() as u64) as usize]),
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let scan = scan_segment(&file, Offset::ZERO, |_, _| {}).unwrap();
        assert!(scan.valid_bytes <= scan.size);
        assert_eq!(scan.verdict == Verdict::Whole, scan.valid_bytes == scan.size);
    }
}
