//! What a model is expected to find: that it holds, and as many states as the page says.

use kraft_model::check::Outcome;

/// `docs/tables.py` writes it from the reports of `kraft check`.
const PAGE: &str = include_str!("../../../docs/proof.md");

/// Holds, to the last state within its bounds and not vacuously.
#[track_caller]
pub fn merely_holds(outcome: &Outcome) {
    if let Some(story) = &outcome.violation {
        panic!("{story}");
    }
    assert!(outcome.complete, "{outcome:?}");
    assert!(outcome.holds(), "not everything was reached: {:?}", outcome.reached);
}

/// Holds, and has as many states as the page says: a machine that does more, less or something else
/// than it did when the page was written is noticed even where no promise is broken by it.
#[track_caller]
pub fn holds(outcome: &Outcome) {
    merely_holds(outcome);
    let states = documented(outcome.model, &outcome.bounds);
    let states = states.unwrap_or_else(|| panic!("docs/proof.md lacks {outcome:?}"));
    assert_eq!(
        outcome.unique_states, states,
        "{}: these machines behave otherwise than when docs/proof.md was written. If they are \
         meant to, have docs/tables.py write it anew (CONTRIBUTING.md)",
        outcome.model
    );
}

/// The states of the table's row for this model with these bounds.
fn documented(model: &str, bounds: &str) -> Option<usize> {
    let rows = PAGE.lines().map(|line| line.split(" | ").collect::<Vec<_>>());
    let mut found = rows.filter(|row| {
        row.first() == Some(&&*format!("| `{model}`"))
            && row.last().is_some_and(|last| last.trim_end_matches(" |") == bounds)
    });
    found.next()?.get(2)?.replace(',', "").parse().ok()
}

#[test]
fn the_page_is_read() {
    let bounds = "3 voters, 2 epochs, 1 records, 2 timeouts, 1 partitions; requests at once, \
                  answers in order, up to renaming";
    assert!(documented("quorum-prevote", bounds).is_some_and(|states| states > 10_000));
    assert_eq!(documented("quorum-prevote", "others"), None);
}
