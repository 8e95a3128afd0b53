//! What was judged, and what came of it: the one thing that every judge writes to and that is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::output::{grouped, table};

/// Stories that are told of one promise; the others are counted.
const STORIES: usize = 5;
/// Names that are shown of what could not be judged for one and the same reason.
const NAMES: usize = 8;

/// A promise by its name, and what it is judged of.
pub type Row = (&'static str, &'static str);

#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Below it the metadata is committed; `null` if that is not known.
    pub high_watermark: Option<i64>,
    pub promises: Vec<Promise>,
    pub not_judged: Vec<NotJudged>,
}

/// A promise of `model/src/invariant`.
#[derive(Debug, Serialize)]
pub struct Promise {
    pub about: &'static str,
    pub promise: &'static str,
    pub judged: u64,
    pub of: &'static str,
    pub verdict: Verdict,
    /// Who has broken it, where, and what each has there.
    pub stories: Vec<String>,
    /// Further ones that are not told.
    pub more: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Holds,
    Broken,
    NothingToJudge,
}

#[derive(Debug, Serialize)]
pub struct NotJudged {
    pub why: String,
    pub what: Vec<String>,
}

impl Report {
    /// A report that has nothing yet to say about these promises.
    pub fn about(rooms: &[(&'static str, Vec<Row>)]) -> Report {
        let rows = |(about, rows): &(&'static str, Vec<Row>)| {
            let about = *about;
            let rows: Vec<Promise> = rows.iter().map(|row| Promise::new(about, *row)).collect();
            rows
        };
        Report { promises: rooms.iter().flat_map(rows).collect(), ..Report::default() }
    }

    /// Judges `subjects` by the promise of that name; `broken` tells the story if it does not hold.
    pub fn judge(
        &mut self,
        promise: &str,
        subjects: u64,
        broken: impl IntoIterator<Item = String>,
    ) {
        let row = self.promises.iter_mut().find(|row| row.promise == promise);
        debug_assert!(row.is_some(), "{promise} is not announced");
        let Some(row) = row else { return };
        row.judged += subjects;
        for story in broken {
            row.verdict = Verdict::Broken;
            if row.stories.len() < STORIES {
                row.stories.push(story);
            } else {
                row.more += 1;
            }
        }
        if row.verdict == Verdict::NothingToJudge && row.judged > 0 {
            row.verdict = Verdict::Holds;
        }
    }

    pub fn cannot_judge(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        match self.not_judged.iter_mut().find(|one| one.why == why) {
            Some(one) if one.what.contains(&what) => {}
            Some(one) => one.what.push(what),
            None => self.not_judged.push(NotJudged { why, what: vec![what] }),
        }
    }

    pub fn is_broken(&self) -> bool {
        self.promises.iter().any(|row| row.verdict == Verdict::Broken)
    }

    /// For people: the table of promises, then the stories, then what nothing is said of.
    pub fn text(&self) -> String {
        let rows = self.promises.iter().map(|row| {
            let (about, promise) = (row.about.to_owned(), row.promise.to_owned());
            let verdict = row.verdict.text().to_owned();
            vec![about, promise, grouped(row.judged), row.of.to_owned(), verdict]
        });
        let mut text = table(&["about", "promise", "judged", "of", "verdict"], rows);
        for row in self.promises.iter().filter(|row| row.verdict == Verdict::Broken) {
            text += &format!("\nbroken: {}\n", row.promise);
            row.stories.iter().for_each(|story| text += &format!("  {story}\n"));
            if row.more > 0 {
                text += &format!("  and {} more\n", grouped(row.more));
            }
        }
        for NotJudged { why, what } in &self.not_judged {
            let shown = what.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
            let more = match what.len().saturating_sub(NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            text += &format!("\nnot judged: {shown}{more}\n  {why}\n");
        }
        text
    }
}

impl Promise {
    fn new(about: &'static str, (promise, of): Row) -> Promise {
        let (judged, verdict, stories, more) = (0, Verdict::NothingToJudge, Vec::new(), 0);
        Promise { about, promise, judged, of, verdict, stories, more }
    }
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Broken => "BROKEN",
            Verdict::NothingToJudge => "nothing to judge",
        }
    }
}

/// `nodes 1, 2 have that; node 3 has this`: who has what, those who have the same together.
pub fn by_content(contents: impl IntoIterator<Item = (i32, String)>) -> String {
    let mut holders: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for (node, content) in contents {
        holders.entry(content).or_default().insert(node);
    }
    let mut groups: Vec<_> = holders.into_iter().map(|(content, nodes)| (nodes, content)).collect();
    groups.sort_unstable();
    let group = |(nodes, content): &(BTreeSet<i32>, String)| {
        let ids = nodes.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
        let who = if nodes.len() == 1 { "node" } else { "nodes" };
        format!("{who} {ids}: {content}")
    };
    groups.iter().map(group).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::about(&[
            ("quorum", vec![("logs match", "pairs")]),
            ("data", vec![("all is held", "records")]),
        ])
    }

    fn verdicts(report: &Report) -> Vec<Verdict> {
        report.promises.iter().map(|row| row.verdict).collect()
    }

    #[test]
    fn what_had_no_subjects_does_not_hold() {
        let mut report = report();
        report.judge("logs match", 3, None);
        report.judge("all is held", 0, None);
        assert_eq!(verdicts(&report), [Verdict::Holds, Verdict::NothingToJudge]);
        assert!(report.text().contains("nothing to judge") && !report.is_broken());
    }

    #[test]
    fn a_broken_promise_stays_broken_and_tells_of_the_first_few() {
        let mut report = report();
        for number in 0..8 {
            report.judge("logs match", 1, Some(format!("story {number}")));
        }
        report.judge("logs match", 5, None);
        assert_eq!(verdicts(&report)[0], Verdict::Broken);
        let text = report.text();
        assert!(text.contains("story 4") && text.contains("and 3 more"), "{text}");
        assert!(report.is_broken());
    }

    #[test]
    fn what_could_not_be_judged_is_named_once_under_its_reason() {
        let mut report = report();
        for number in [1, 1, 2, 3, 4, 5, 6, 7, 8, 9] {
            report.cannot_judge(format!("t-{number}"), "it moved on");
        }
        assert_eq!(report.not_judged[0].what.len(), 9);
        assert!(report.text().contains("t-8 and 1 more\n  it moved on"), "{}", report.text());
    }

    #[test]
    fn those_who_have_the_same_are_named_together() {
        let contents = [(1, "this"), (2, "that"), (3, "this")];
        let text = by_content(contents.map(|(node, content)| (node, content.to_owned())));
        assert_eq!(text, "nodes 1, 3: this; node 2: that");
    }
}
