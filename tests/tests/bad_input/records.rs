//! A replica whose files are torn or damaged takes what it lacks from the one that has it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kraft_tests::load::{Acked, Load, assert_nothing_lost, read_all};
use kraft_tests::wire::{self, Connection};
use kraft_tests::{Cluster, Layout, eventually, producer};

use crate::wait_for_line;

/// One partition on two brokers, under load; `victim` is the one that leads it.
struct Scene {
    cluster: Cluster,
    brokers: Vec<SocketAddr>,
    load: Load,
    victim: i32,
}

impl Scene {
    fn set() -> Scene {
        let cluster = Cluster::start(&Layout::split(1, 2));
        let brokers: Vec<SocketAddr> =
            cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
        assert_eq!(wire::create_topic(brokers[0], "t", 1, 2, &[]).expect("an answer"), 0);
        wait_for_isr(&brokers, 2);
        let load = Load::start("t", brokers.clone(), 1);
        load.wait_for_more(300);
        let victim = eventually("the partition has a leader", || {
            let found = wire::describe(brokers[0], "t").ok()?;
            found.first().map(|p| p.leader).filter(|leader| *leader >= 0)
        });
        Scene { cluster, brokers, load, victim }
    }

    /// A file of the victim's replica, by its extension.
    fn file(&self, extension: &str) -> PathBuf {
        let dir = self.cluster.node(self.victim).data_dir().join("t-0");
        dir.join(format!("00000000000000000000.{extension}"))
    }

    fn kill(&mut self) {
        self.cluster.node_mut(self.victim).kill();
        self.load.wait_for_more(20);
    }

    fn stop(&mut self) {
        let victim = self.cluster.node_mut(self.victim);
        victim.terminate();
        assert!(victim.wait_for_end().success(), "an orderly stop exits with 0");
        self.load.wait_for_more(20);
    }

    /// Starts the victim, waits until it is in sync again, and leaves the partition to it alone:
    /// every acknowledged record must be there.
    fn recover(mut self, words: &[&str]) -> (Cluster, SocketAddr, Vec<Acked>) {
        self.cluster.node_mut(self.victim).start();
        wait_for_line(self.cluster.node(self.victim), words);
        wait_for_isr(&self.brokers, 2);
        self.load.wait_for_more(50);
        let acked = self.load.finish();
        let brokers = self.cluster.brokers();
        let healthy = *brokers.iter().find(|id| **id != self.victim).expect("two brokers");
        self.cluster.node_mut(healthy).kill();
        let address = self.cluster.node(self.victim).address();
        eventually("the recovered replica leads", || {
            let found = wire::describe(address, "t").ok()?;
            found.first().filter(|p| p.leader == self.victim).map(drop)
        });
        assert_nothing_lost(&acked, &read_all("t", &[address]));
        (self.cluster, address, acked)
    }
}

fn wait_for_isr(asked: &[SocketAddr], size: usize) {
    eventually(&format!("the ISR has {size} members"), || {
        asked.iter().find(|address| {
            wire::describe(**address, "t")
                .is_ok_and(|found| found.first().is_some_and(|p| p.isr.len() == size))
        })
    });
}

fn flip(path: &Path, at: usize, bits: u8) {
    let mut bytes = fs::read(path).expect("a file of the replica");
    let length = bytes.len();
    let byte = bytes.get_mut(at).unwrap_or_else(|| panic!("{length} bytes in {}", path.display()));
    *byte ^= bits;
    fs::write(path, bytes).expect("the node is dead");
}

/// Every offset is found by its own fetch, not only on the way from the first one.
fn assert_found_one_by_one(leader: SocketAddr, acked: &[Acked]) {
    let mut connection = Connection::open(leader).expect("the leader listens");
    for ack in acked {
        let (code, _, bytes) = wire::fetch(&mut connection, "t", 0, ack.offset).expect("an answer");
        let found = producer::values(&bytes);
        let here = found.contains(&(ack.offset, ack.value.clone()));
        assert!(code == 0 && here, "a fetch from offset {} does not find it", ack.offset);
    }
}

#[test]
fn a_torn_last_record_is_cut_off_and_fetched_again() {
    let mut scene = Scene::set();
    scene.kill();
    let segment = File::options().write(true).open(scene.file("log")).expect("a segment");
    let length = segment.metadata().expect("a file").len();
    segment.set_len(length - 20).expect("the node is dead");
    scene.recover(&["WARN", "t-0", "unfinished write", "cut off"]);
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    let mut scene = Scene::set();
    scene.kill();
    let segment = File::options().write(true).open(scene.file("log")).expect("a segment");
    let length = segment.metadata().expect("a file").len();
    segment.set_len(length + 8_192).expect("the node is dead");
    scene.recover(&["WARN", "t-0", "bytes=8192", "unfinished write", "cut off"]);
}

#[test]
fn a_flipped_byte_in_a_segment_is_found_and_what_follows_is_fetched_again() {
    let mut scene = Scene::set();
    scene.kill();
    let segment = fs::read(scene.file("log")).expect("a segment");
    let record = b"record 150";
    let at = segment.windows(record.len()).position(|window| window == record);
    flip(&scene.file("log"), at.expect("it was acknowledged"), 0x20);
    let aside = scene.file("log.damaged");
    let (_cluster, ..) = scene.recover(&["ERROR", "a log is damaged", "t-0", "fetched again"]);
    assert!(aside.exists(), "the damaged segment was not kept for whoever wants to look");
}

#[test]
fn an_offset_index_that_points_outside_its_segment_is_made_anew() {
    let mut scene = Scene::set();
    scene.stop();
    flip(&scene.file("index"), 4, 0x40);
    let words = ["WARN", "t-0", "indexes did not fit", "made anew"];
    let (_cluster, leader, acked) = scene.recover(&words);
    assert_found_one_by_one(leader, &acked);
}

#[test]
fn a_time_index_that_does_not_rise_is_made_anew() {
    let mut scene = Scene::set();
    scene.stop();
    flip(&scene.file("timeindex"), 0, 0x40);
    let words = ["WARN", "t-0", "indexes did not fit", "made anew"];
    let (_cluster, leader, acked) = scene.recover(&words);
    assert_found_one_by_one(leader, &acked);
}

#[test]
fn an_index_entry_that_is_off_by_one_byte_misleads_no_reader() {
    let mut scene = Scene::set();
    scene.stop();
    flip(&scene.file("index"), 7, 0x01);
    let (_cluster, leader, acked) = scene.recover(&["unfenced"]);
    assert_found_one_by_one(leader, &acked);
}
