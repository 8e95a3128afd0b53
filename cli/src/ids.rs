//! New ids in Kafka's 22-character form.

use kraft_model::ClusterId;

/// A random id. Like Kafka's, it never begins with a dash, which a command line would take for an
/// option, and is never one of the reserved ids.
pub fn random_id() -> String {
    loop {
        let id = ClusterId(uuid::Uuid::new_v4().as_u128());
        let text = id.to_string();
        if !text.starts_with('-') {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_is_read_back_and_is_never_the_same() {
        let ids: std::collections::BTreeSet<_> = (0..200).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 200);
        assert!(ids.iter().all(|id| id.parse::<ClusterId>().is_ok() && !id.starts_with('-')));
    }
}
