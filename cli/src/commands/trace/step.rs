//! `kraft trace replay --step`: forwards and backwards through a trace.

use std::io::{self, BufRead, IsTerminal, Write};

use kraft_model::replay::Recorded;

use super::View;
use super::fold::fold;
use super::replay::{changes, damaged, show_view};
use super::show::indented;
use super::story::{Filter, Placed, Story};
use crate::output;
use crate::report::{Context, Failure};

const HELP: &str = "\
n [COUNT]   the next entry (of the chosen machine)
p           the one before
g N         entry N
s           the machine's state after the entry
d           what the entry changed of it
e           the event in full
f           its effects
m MACHINE   only this node's or machine's entries: 1, 1/quorum, 4/orders-0; without one: all
q           quit";

/// How often the story is remembered, to go back from.
const LANDMARK: u64 = 4_096;

/// Where the reader is.
struct Stepper<'a> {
    recordings: &'a [Recorded],
    story: Story,
    /// The story at every so many entries, in order; the beginning first.
    landmarks: Vec<Story>,
    filter: Option<Filter>,
    here: Option<Placed>,
}

pub fn run(recordings: &[Recorded]) -> Result<(), Failure> {
    let story = Story::new(recordings);
    let landmarks = vec![story.clone()];
    let mut stepper = Stepper { recordings, story, landmarks, filter: None, here: None };
    let is_terminal = io::stdin().is_terminal();
    if is_terminal {
        output::notice(&format!("{} recordings; 'h' lists the commands", recordings.len()));
    }
    let mut lines = io::stdin().lock().lines();
    loop {
        if is_terminal {
            let at = stepper.here.as_ref().map_or(0, |placed| placed.position);
            // A prompt that cannot be shown is a terminal that has gone; the next line will not come.
            let _ = write!(io::stdout(), "{at}> ").and_then(|()| io::stdout().flush());
        }
        let Some(line) = lines.next() else { return Ok(()) };
        let line = line.doing(|| "cannot read the commands".to_owned())?;
        let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        if command == "q" {
            return Ok(());
        }
        stepper.obey(command, rest.trim())?;
    }
}

impl Stepper<'_> {
    fn obey(&mut self, command: &str, rest: &str) -> Result<(), Failure> {
        match command {
            "" | "n" => {
                let count = rest.parse().unwrap_or(1);
                for _ in 0..count {
                    if !self.forward()? {
                        return output::line("the end");
                    }
                }
                self.tell()
            }
            "p" => {
                let here = self.here.as_ref().map_or(0, |placed| placed.position);
                self.backward(here)?;
                self.tell()
            }
            "g" => match rest.parse() {
                Ok(position) => {
                    self.go_to(position)?;
                    self.tell()
                }
                Err(_) => output::line("g N: to which entry?"),
            },
            "s" => self.show(View::State),
            "e" => self.show(View::Event),
            "f" => self.show(View::Effects),
            "d" => self.difference(),
            "m" if rest.is_empty() => {
                self.filter = None;
                output::line("all machines")
            }
            "m" => match Filter::parse(rest) {
                Ok(filter) => {
                    self.filter = Some(filter);
                    output::line(&format!("only {rest}"))
                }
                Err(problem) => output::line(&problem),
            },
            _ => output::line(HELP),
        }
    }

    fn tell(&self) -> Result<(), Failure> {
        let Some(placed) = &self.here else { return output::line("the beginning") };
        output::line(&placed.line())?;
        if let Some(divergence) = placed.divergence() {
            output::line(&indented(&divergence))?;
        }
        Ok(())
    }

    fn show(&self, view: View) -> Result<(), Failure> {
        match &self.here {
            Some(placed) => show_view(placed, view),
            None => output::line("the beginning: nothing has happened yet"),
        }
    }

    /// The next entry, whichever machine's; whether there is one.
    fn one(&mut self) -> Result<bool, Failure> {
        let last = self.landmarks.last().map_or(0, Story::position);
        if self.story.position() >= last + LANDMARK {
            self.landmarks.push(self.story.clone());
        }
        let next = self.story.next().transpose().map_err(damaged)?;
        let is_there = next.is_some();
        self.here = next.or(self.here.take());
        Ok(is_there)
    }

    fn forward(&mut self) -> Result<bool, Failure> {
        while self.one()? {
            let (filter, here) = (&self.filter, &self.here);
            if filter.as_ref().zip(here.as_ref()).is_none_or(|(it, placed)| it.admits(placed)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn go_to(&mut self, position: u64) -> Result<(), Failure> {
        let landmark = self.landmarks.iter().rfind(|story| story.position() < position.max(1));
        self.story = landmark.unwrap_or(&self.landmarks[0]).clone();
        self.here = None;
        while self.story.position() < position && self.one()? {}
        Ok(())
    }

    /// The last entry before `position` that the filter admits, else the beginning; looked for from
    /// one landmark to the next.
    fn backward(&mut self, position: u64) -> Result<(), Failure> {
        let mut below = position;
        loop {
            let before = self.landmarks.iter().rfind(|story| story.position() + 1 < below);
            let Some(landmark) = before else { return self.go_to(0) };
            let (mut story, mut found) = (landmark.clone(), None);
            while story.position() + 1 < below {
                let Some(placed) = story.next().transpose().map_err(damaged)? else { break };
                if self.filter.as_ref().is_none_or(|filter| filter.admits(&placed)) {
                    found = Some(placed.position);
                }
            }
            match found {
                Some(at) => return self.go_to(at),
                None => below = landmark.position() + 1,
            }
        }
    }

    fn difference(&self) -> Result<(), Failure> {
        let Some(placed) = &self.here else { return self.show(View::State) };
        let before = placed.before(self.recordings).map(|machine| fold(&machine.text()));
        let text = changes(&before.unwrap_or_default(), &fold(&placed.entry.after.text()));
        output::line(text.trim_end())
    }
}
