//! "Did you mean ...?"

/// The name that `word` was most likely meant to be, if one is near enough.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters wrong is no longer a slip of the hand.
    let furthest = (word.len() / 3).clamp(1, 6);
    names
        .map(|name| (distance(word, name), name))
        .filter(|&(distance, _)| distance <= furthest)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, in bytes: keys are ASCII.
fn distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_finds_its_key_and_another_word_none() {
        let names = ["log.dirs", "log.dir", "node.id"];
        assert_eq!(nearest("nodeid", names.into_iter()), Some("node.id"));
        assert_eq!(nearest("log.dirz", names.into_iter()), Some("log.dir"));
        assert_eq!(nearest("zookeeper.connect", names.into_iter()), None);
    }

    #[test]
    fn the_distance_counts_insertions_deletions_and_replacements() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
