//! Outcomes as JUnit's XML, which every CI shows.

use super::outcome::Outcome;
use super::show;

/// A suite `kraft check` with a case for each model or mutation.
pub fn document(outcomes: &[Outcome]) -> String {
    let failures = outcomes.iter().filter(|outcome| !outcome.as_expected).count();
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"kraft check\" tests=\"{}\" failures=\"{failures}\" time=\"{seconds:.3}\">\n",
        outcomes.len()
    );
    outcomes.iter().for_each(|outcome| text += &case(outcome));
    text + "</testsuite>\n"
}

fn case(outcome: &Outcome) -> String {
    let (class, name) = match outcome.mutation {
        Some(mutation) => (format!("mutation.{}", outcome.model), mutation),
        None => ("model".to_owned(), outcome.model.as_str()),
    };
    let mut text = format!(
        "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">\n",
        escaped(&class),
        escaped(name),
        outcome.seconds
    );
    let said = outcome.said();
    if !outcome.as_expected {
        let story = if outcome.trace.is_empty() { String::new() } else { show::story(outcome) };
        let (said, story) = (escaped(&said), escaped(&story));
        text += &format!("    <failure message=\"{said}\">{story}</failure>\n");
    }
    let out =
        format!("{said}; {} states, depth {}; {}", outcome.unique, outcome.depth, outcome.bounds);
    text + &format!("    <system-out>{}</system-out>\n  </testcase>\n", escaped(&out))
}

/// Text as XML takes it; control characters, which it does not take at all, become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Verdict;
    use super::*;

    fn outcome(as_expected: bool) -> Outcome {
        Outcome {
            model: "quorum".to_owned(),
            bounds: "3 voters".to_owned(),
            tier: Some("quick"),
            mutation: None,
            unique: 7,
            generated: 9,
            depth: 2,
            seconds: 0.25,
            collision_chance: 0.0,
            verdict: if as_expected { Verdict::Holds } else { Verdict::Violated },
            reached: Vec::new(),
            missed: Vec::new(),
            violated: (!as_expected).then_some("one <leader> & no more"),
            rule: None,
            trace: if as_expected { Vec::new() } else { vec!["node 1 \"votes\"".to_owned()] },
            actions: Vec::new(),
            as_expected,
        }
    }

    #[test]
    fn a_failure_carries_its_story_and_nothing_that_breaks_the_document() {
        let text = document(&[outcome(true), outcome(false)]);
        assert!(text.contains("tests=\"2\" failures=\"1\" time=\"0.500\""), "{text}");
        assert!(text.contains("VIOLATED: one &lt;leader&gt; &amp; no more"), "{text}");
        assert!(text.contains("node 1 &quot;votes&quot;"), "{text}");
        assert_eq!(text.matches("<failure").count(), 1, "{text}");
    }
}
