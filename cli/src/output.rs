//! What goes to standard output: a table for people, JSON for programs, raw lines for pipes.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::report::Failure;

/// How a command answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// `--output`, on every command that answers something.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OutputArgs {
    /// A table for people, or one JSON document with stable field names for programs
    #[arg(long, value_enum, default_value_t, global = true, env = "KRAFT_OUTPUT")]
    pub output: Format,
}

impl OutputArgs {
    /// Prints `answer` as JSON, or the table that `table` makes of it.
    pub fn answer<T: Serialize>(
        self,
        answer: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.output {
            Format::Json => {
                let text = serde_json::to_string_pretty(answer).map_err(|error| {
                    Failure::new("cannot write the answer as JSON").because(error)
                })?;
                line(&text)
            }
            Format::Table => line(table(answer).trim_end()),
        }
    }
}

/// A plain table without lines, as `kubectl` and `docker` print theirs.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// One line to standard output.
pub fn line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(stdout_failed)
}

/// A notice to the person at the terminal: standard error, so that pipes stay clean.
pub fn notice(text: &str) {
    // Nobody reads a closed standard error.
    let _ = writeln!(io::stderr(), "{text}");
}

pub fn stdout_failed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::ClosedPipe
    } else {
        Failure::new("cannot write to standard output").because(error)
    }
}

pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// `1,2,3`, or `-` for nothing.
pub fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// The value, or `-`.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `850 ms`, `12 s`, `3 m 5 s`, `2 h 7 m`, `4 d 1 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_trailing_spaces_and_aligned_columns() {
        let text = table(&["name", "n"], [vec!["a".to_owned(), "1".to_owned()]]);
        assert_eq!(text, "NAME  N\na     1\n");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(Duration::from_millis(850)), "850 ms");
        assert_eq!(duration(Duration::from_secs(185)), "3 m 5 s");
        assert_eq!(duration(Duration::from_secs(90_000)), "1 d 1 h");
    }
}
