//! Opening a log after a stop that was not clean.

use kraft_model::Offset;
use kraft_model::log::Log;
use kraft_model::replica::DataLog;
use kraft_node::storage::OpenState;

use crate::support::{Home, append, bases, batch, small};

fn two_batches() -> (Home, Vec<u8>, usize) {
    let home = Home::new(small());
    let mut log = home.create();
    append(&mut log, 1, batch(2, 40, 1));
    let first = log.size() as usize;
    append(&mut log, 2, batch(3, 700, 2));
    drop(log);
    let whole = std::fs::read(&home.files(".log")[0]).unwrap();
    (home, whole, first)
}

#[test]
fn a_last_batch_that_is_cut_anywhere_is_truncated_and_reported() {
    let (home, whole, first) = two_batches();
    let path = &home.files(".log")[0];
    for cut in first + 1..whole.len() {
        std::fs::write(path, &whole[..cut]).unwrap();
        let (log, recovery) = home.crash();
        assert_eq!(log.end(), Offset(2), "cut at {cut}");
        assert_eq!(recovery.truncated_bytes, (cut - first) as u64, "cut at {cut}");
        assert_eq!(recovery.damage, None, "cut at {cut}");
        assert_eq!(log.last_epoch(), 1);
        assert_eq!(std::fs::metadata(path).unwrap().len(), first as u64);
    }
}

#[test]
fn a_zero_filled_tail_is_truncated_and_reported() {
    let (home, whole, first) = two_batches();
    let path = &home.files(".log")[0];
    for kept in [first, first + 1, first + 61, 512, 1024] {
        let mut torn = whole.clone();
        torn[kept.max(first)..].fill(0);
        torn.extend_from_slice(&[0; 5000]);
        std::fs::write(path, &torn).unwrap();
        let (log, recovery) = home.crash();
        assert_eq!((log.end(), recovery.damage), (Offset(2), None), "{kept} bytes kept");
        assert_eq!(recovery.truncated_bytes, (torn.len() - first) as u64);
    }
}

#[test]
fn every_flipped_byte_of_a_full_batch_is_damage_which_is_set_aside() {
    let (home, whole, first) = two_batches();
    let path = home.files(".log")[0].clone();
    for at in (first..whole.len()).filter(|at| !(first + 12..first + 16).contains(at)) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        std::fs::write(&path, &flipped).unwrap();
        let state = OpenState { high_watermark: Offset(4), ..OpenState::default() };
        let (log, recovery) = home.open(state);
        let damage = recovery.damage.unwrap_or_else(|| panic!("byte {at} passed"));
        assert_eq!((log.end(), damage.at), (Offset(2), Offset(2)), "byte {at}");
        assert_eq!(damage.position, first as u64, "byte {at}");
        assert!(damage.below_high_watermark && !damage.below_recovery_point);
        assert_eq!(damage.set_aside.len(), 1);
        assert_eq!(std::fs::read(&damage.set_aside[0]).unwrap(), flipped);
        assert_eq!(std::fs::read(&path).unwrap(), whole[..first]);
        std::fs::remove_file(&damage.set_aside[0]).unwrap();
    }
}

#[test]
fn damage_in_the_middle_keeps_what_is_before_and_tells_how_far_the_log_reached() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..60).for_each(|_| append(&mut log, 1, batch(1, 300, 1)));
    let end = log.end();
    drop(log);
    let segments = home.files(".log");
    assert!(segments.len() > 4);
    let mut bytes = std::fs::read(&segments[2]).unwrap();
    let size = batch(1, 300, 1).bytes.len();
    // The length of the second batch now reaches beyond the file: still damage, not a tear.
    bytes[size + 9] ^= 0x10;
    std::fs::write(&segments[2], &bytes).unwrap();
    let (log, recovery) = home.crash();
    let damage = recovery.damage.expect("the segment is damaged");
    assert_eq!(damage.former_end, end);
    assert_eq!(damage.set_aside.len(), segments.len() - 2);
    assert_eq!(log.end(), damage.at);
    assert_eq!(bases(&log).len() as i64, damage.at.0);
}

#[test]
fn what_is_lost_below_the_recovery_point_is_damage_and_not_a_tear() {
    let (home, whole, first) = two_batches();
    let path = &home.files(".log")[0];
    let state = OpenState { recovery_point: Offset(5), ..OpenState::default() };
    for kept in [first, first + 30, whole.len() - 1] {
        std::fs::write(path, &whole[..kept]).unwrap();
        let (log, recovery) = home.open(state);
        let damage = recovery.damage.unwrap_or_else(|| panic!("{kept} bytes passed"));
        assert!(damage.below_recovery_point);
        assert_eq!((log.end(), damage.former_end), (Offset(2), Offset(5)));
        damage.set_aside.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
    std::fs::remove_file(path).unwrap();
    let damage = home.open(state).1.damage.expect("the segment is gone");
    assert!(damage.below_recovery_point);
}

#[test]
fn a_tear_in_the_batch_that_the_log_starts_in_is_no_damage_and_brings_nothing_back() {
    let tear = |left: &dyn Fn(u64) -> u64| {
        let home = Home::new(small());
        let mut log = home.create();
        (0..2).for_each(|_| append(&mut log, 1, batch(3, 30, 1)));
        let size = log.size();
        log.advance_start(Offset(4));
        let (recovery_point, log_start) = (log.flushed(), log.start());
        drop(log);
        let file = std::fs::OpenOptions::new().write(true).open(&home.files(".log")[0]).unwrap();
        file.set_len(left(size)).unwrap();
        let opened = home.open(OpenState { recovery_point, log_start, ..OpenState::default() });
        (opened, home)
    };
    let lefts: [&dyn Fn(u64) -> u64; 4] = [&|all| all - 1, &|all| all / 2, &|_| 1, &|_| 0];
    for left in lefts {
        let ((mut log, recovery), _home) = tear(left);
        assert_eq!(recovery.damage, None, "nothing of it was flushed");
        assert_eq!((log.start(), log.end()), (Offset(4), Offset(4)), "deleted stays deleted");
        append(&mut log, 2, batch(1, 30, 1));
        assert_eq!((log.end(), bases(&log)), (Offset(5), vec![4]));
    }
}

#[test]
fn a_clean_stop_spares_the_scan_and_a_crash_scans_from_the_recovery_point() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..100).for_each(|i| append(&mut log, 1, batch(1, 300, i)));
    let (end, size) = (log.end(), log.size());
    home.close(log);
    let (log, recovery) = home.reopen(OpenState { recovery_point: end, ..OpenState::default() });
    assert_eq!((recovery, log.end(), log.flushed()), (Default::default(), end, end));
    drop(log);
    let (_, recovery) = home.open(OpenState { recovery_point: end, ..OpenState::default() });
    assert!(recovery.scanned_bytes > 0 && recovery.scanned_bytes <= 4096, "{recovery:?}");
    let (_, recovery) = home.crash();
    assert_eq!(recovery.scanned_bytes, size);
}

#[test]
fn damaged_indexes_and_epochs_are_made_anew() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..80).for_each(|i| append(&mut log, i / 30, batch(1, 150, i64::from(i))));
    let (end, epochs) = (log.end(), [0, 1, 2].map(|epoch| log.end_of_epoch(epoch)));
    home.close(log);
    let mut cases = home.files("index");
    cases.push(home.path().join("leader-epoch-checkpoint"));
    assert!(cases.len() > 6);
    for path in cases {
        let whole = std::fs::read(&path).unwrap();
        for at in 0..=whole.len() {
            let mut damaged = whole.clone();
            match damaged.get_mut(at) {
                Some(byte) => *byte ^= 0x05,
                None => damaged.truncate(at / 2),
            }
            std::fs::write(&path, damaged).unwrap();
            let clean = at % 2 == 0;
            let state = OpenState { clean, recovery_point: end, ..OpenState::default() };
            let (log, recovery) = home.open(state);
            let what = format!("{} byte {at}", path.display());
            assert_eq!(recovery.damage, None, "{what}");
            assert_eq!(bases(&log).len(), 80, "{what}");
            assert_eq!([0, 1, 2].map(|epoch| log.end_of_epoch(epoch)), epochs, "{what}");
            home.close(log);
        }
    }
}
