//! Pretty debug output with its small parts on one line each.

/// How wide a line may become.
const WIDTH: usize = 100;

/// Joins every `{ .. }`, `( .. )` and `[ .. ]` of `text` (as `{:#?}` prints them) that fits a line,
/// from the inside out.
pub fn fold(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for line in text.lines() {
        lines.push(line.to_owned());
        if line.ends_with(['{', '(', '[']) {
            open.push(lines.len() - 1);
        } else if line.trim_start().starts_with(['}', ')', ']'])
            && let Some(first) = open.pop()
            && let Some(joined) = join(&lines[first..])
        {
            lines.truncate(first);
            lines.push(joined);
        }
    }
    lines.join("\n")
}

/// One line in place of these; `None` if it is too long.
fn join(lines: &[String]) -> Option<String> {
    let (first, rest) = lines.split_first()?;
    let (last, inner) = rest.split_last()?;
    let inner: Vec<&str> = inner.iter().map(|line| line.trim()).collect();
    let inner = inner.join(" ");
    let inner = inner.strip_suffix(',').unwrap_or(&inner);
    let space = if first.ends_with('{') && !inner.is_empty() { " " } else { "" };
    let joined = format!("{first}{space}{inner}{space}{}", last.trim_start());
    (joined.chars().count() <= WIDTH).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_stand_on_one_line_and_large_ones_do_not() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "only printed")]
        struct Part {
            ids: Vec<u32>,
            name: Option<&'static str>,
        }
        let small = Part { ids: vec![1, 2], name: Some("a") };
        assert_eq!(fold(&format!("{small:#?}")), "Part { ids: [1, 2], name: Some(\"a\") }");
        let large = Part { ids: (0..90).collect(), name: None };
        let folded = fold(&format!("{large:#?}"));
        assert_eq!(folded.lines().count(), 90 + 5, "{folded}");
    }
}
