//! Brokers that were fenced a short while ago, of which Metadata still tells clients.
//!
//! Kafka lists a dead broker until its session is over. kraft fences it at once, and a client that
//! hears at the same time of a partition's new leader and that the old one is gone may stumble:
//! librdkafka takes the old one down first and finds the new one a second later. Where a broker is
//! listed decides nothing: it leads nothing, and is in no ISR.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kraft_model::NodeId;
use kraft_model::metadata::{Broker, Image};

/// When this process saw which broker become fenced. Shared by all connections.
#[derive(Clone, Debug)]
pub struct LatelyFenced {
    since: Arc<Mutex<BTreeMap<NodeId, Instant>>>,
    /// `broker.session.timeout.ms`: as long as Kafka would list it.
    lasts: Duration,
}

impl LatelyFenced {
    pub fn new(session_timeout: Duration) -> LatelyFenced {
        LatelyFenced { since: Arc::default(), lasts: session_timeout }
    }

    /// Looks for brokers that `after` has fenced and `before` had not.
    pub fn compare(&self, before: &Image, after: &Image, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fenced = |id: &NodeId| after.brokers.get(id).is_some_and(|broker| broker.fenced);
        since.retain(|id, at| is_fenced(id) && now.duration_since(*at) < self.lasts);
        let served = before.brokers.values().filter(|broker| !broker.fenced);
        let fenced = served.map(|broker| broker.id).filter(is_fenced);
        since.extend(fenced.map(|id| (id, now)));
    }

    /// Whether clients are told of the broker: it is unfenced, or was a short while ago.
    pub fn lists(&self, broker: &Broker, now: Instant) -> bool {
        if !broker.fenced {
            return true;
        }
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(&broker.id).is_some_and(|at| now.duration_since(*at) < self.lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(9);

    fn image(fenced: bool) -> Image {
        let broker = Broker {
            id: NodeId(4),
            epoch: kraft_model::BrokerEpoch(1),
            incarnation: kraft_model::Incarnation(1),
            endpoints: Vec::new(),
            features: Vec::new(),
            rack: None,
            directories: Vec::new(),
            fenced,
            in_controlled_shutdown: false,
        };
        let mut image = Image::default();
        image.brokers.insert(broker.id, Arc::new(broker));
        image
    }

    fn lists(lately: &LatelyFenced, image: &Image, now: Instant) -> bool {
        lately.lists(&image.brokers[&NodeId(4)], now)
    }

    #[test]
    fn a_broker_is_listed_for_a_session_after_it_was_fenced_and_no_longer() {
        let (lately, start) = (LatelyFenced::new(SESSION), Instant::now());
        let (served, fenced) = (image(false), image(true));
        lately.compare(&Image::default(), &fenced, start);
        assert!(!lists(&lately, &fenced, start), "it never served");
        lately.compare(&fenced, &served, start);
        assert!(lists(&lately, &served, start));
        lately.compare(&served, &fenced, start);
        assert!(lists(&lately, &fenced, start + SESSION / 2));
        assert!(!lists(&lately, &fenced, start + SESSION));
        lately.compare(&fenced, &fenced, start + SESSION / 2);
        assert!(!lists(&lately, &fenced, start + SESSION), "its time began when it was fenced");
    }
}
