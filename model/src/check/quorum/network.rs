//! Messages under way: one connection per pair of nodes, whose two directions keep their order.

use crate::inline::InlineVec;

use super::packet::Packet;

/// Messages that may be under way at once in all; no configuration comes near.
const UNDER_WAY: usize = 20;

/// One message with the connection that it is on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
struct Letter {
    /// Sender and receiver, four bits each.
    way: u8,
    packet: Packet,
}

impl Letter {
    fn from(self) -> usize {
        usize::from(self.way >> 4)
    }

    fn to(self) -> usize {
        usize::from(self.way & 15)
    }
}

fn way(from: usize, to: usize) -> u8 {
    (from << 4 | to) as u8
}

/// Messages in order of sending for each direction of each connection. The list is kept sorted by
/// direction, so that equal contents are equal lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Network {
    letters: InlineVec<Letter, UNDER_WAY>,
}

impl Network {
    pub(super) fn queue(&self, from: usize, to: usize) -> impl Iterator<Item = Packet> + '_ {
        let here = move |letter: &&Letter| letter.way == way(from, to);
        self.letters.iter().filter(here).map(|letter| letter.packet)
    }

    /// Every direction that has messages, with how many, by sender and receiver.
    pub(super) fn ways(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let same = |a: &Letter, b: &Letter| a.way == b.way;
        self.letters.chunk_by(same).map(|queue| (queue[0].from(), queue[0].to(), queue.len()))
    }

    /// Puts a message at the end of its queue.
    ///
    /// # Panics
    /// If the list is full: none of the configurations may cut off a behaviour unseen.
    pub(super) fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let letter = Letter { way: way(from, to), packet };
        self.letters.push(letter);
        let mut at = self.letters.len() - 1;
        while at > 0 && self.letters[at - 1].way > letter.way {
            self.letters.swap(at - 1, at);
            at -= 1;
        }
    }

    /// As [`Network::send`], but an answer of the same kind that is still under way is lost.
    pub(super) fn overtake(&mut self, from: usize, to: usize, packet: Packet) {
        let (way, kind) = (way(from, to), packet.answer_kind());
        self.retain_letters(|letter| letter.way != way || letter.packet.answer_kind() != kind);
        self.send(from, to, packet);
    }

    /// Takes out the `nth` message of a queue.
    pub(super) fn take(&mut self, from: usize, to: usize, nth: usize) -> Packet {
        let first = self.letters.iter().position(|letter| letter.way == way(from, to));
        let first = first.expect("a message is taken from where one was seen");
        self.letters.remove(first + nth).packet
    }

    fn retain_letters(&mut self, mut keep: impl FnMut(&Letter) -> bool) {
        let mut at = 0;
        while at < self.letters.len() {
            if keep(&self.letters[at]) {
                at += 1;
            } else {
                self.letters.remove(at);
            }
        }
    }

    /// Keeps the messages that `keep` says yes to, given sender and receiver.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize, usize, Packet) -> bool) {
        self.retain_letters(|letter| keep(letter.from(), letter.to(), letter.packet));
    }

    /// The connection between two nodes breaks, and what was under way on it is lost.
    pub(super) fn break_link(&mut self, a: usize, b: usize) {
        self.retain(|from, to, _| (from, to) != (a, b) && (from, to) != (b, a));
    }

    /// Who has something under way to this node, a bit for each.
    pub(super) fn senders_to(&self, to: usize) -> u8 {
        let letters = self.letters.iter().filter(|letter| letter.to() == to);
        letters.fold(0, |senders, letter| senders | 1 << letter.from())
    }

    /// Takes out the first that `from` has sent to anybody.
    pub(super) fn take_first_from(&mut self, from: usize) -> Option<(usize, Packet)> {
        let at = self.letters.iter().position(|letter| letter.from() == from)?;
        let letter = self.letters.remove(at);
        Some((letter.to(), letter.packet))
    }

    pub(super) fn lose_all_from(&mut self, from: usize) {
        self.retain(|sender, _, _| sender != from);
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (usize, usize, Packet)> + '_ {
        self.letters.iter().map(|l| (l.from(), l.to(), l.packet))
    }

    /// The network when the node at position `at` is at `places[at]`.
    pub(super) fn renamed(&self, places: &[usize]) -> Self {
        let mut renamed = Network::default();
        for (from, to, packet) in self.each() {
            renamed.send(places[from], places[to], packet.renamed(places));
        }
        renamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::quorum::keys::key;

    fn begin(epoch: u8) -> Packet {
        Packet::Begin { epoch, voter: key(0).directory.0 as u8 }
    }

    #[test]
    fn a_network_is_equal_whatever_the_order_of_sending_on_different_connections() {
        let (one, two) = (begin(1), begin(2));
        let mut this = Network::default();
        let mut that = Network::default();
        this.send(0, 1, one);
        this.send(1, 0, two);
        that.send(1, 0, two);
        that.send(0, 1, one);
        assert_eq!(this, that);
        that.send(0, 1, two);
        assert_eq!(that.queue(0, 1).collect::<Vec<_>>(), [one, two]);
        assert_eq!(that.ways().collect::<Vec<_>>(), [(0, 1, 2), (1, 0, 1)]);
        assert_eq!(that.take(0, 1, 0), one);
    }

    #[test]
    fn a_newer_answer_overtakes_only_one_of_its_kind() {
        let refused =
            Packet::VoteResponse { epoch: 1, leader: 0, granted: false, pre_vote: true, error: 0 };
        let seen = Packet::BeginResponse { epoch: 1, leader: 1 };
        let mut network = Network::default();
        network.overtake(0, 1, refused);
        network.overtake(0, 1, seen);
        network.overtake(0, 1, refused);
        assert_eq!(network.queue(0, 1).collect::<Vec<_>>(), [seen, refused]);
    }
}
