//! Kafka's `server.properties`: Java's properties syntax.

/// One `key=value` and the line on which it begins, from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Property {
    pub line: usize,
    pub key: String,
    pub value: String,
}

/// The properties in order, or the line that is not one and why.
pub(super) fn parse(text: &str) -> Result<Vec<Property>, (usize, String)> {
    logical_lines(text).into_iter().map(|(line, content)| property(line, &content)).collect()
}

/// Lines without comments and blanks, those that end in a backslash joined with the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (index, raw) in text.lines().enumerate() {
        let content = raw.trim_start();
        if !continues && (content.is_empty() || content.starts_with(['#', '!'])) {
            continue;
        }
        let ends_open = content.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1;
        let content = if ends_open { &content[..content.len() - 1] } else { content };
        match lines.last_mut().filter(|_| continues) {
            Some((_, so_far)) => so_far.push_str(content),
            None => lines.push((index + 1, content.to_owned())),
        }
        continues = ends_open;
    }
    lines
}

fn property(line: usize, content: &str) -> Result<Property, (usize, String)> {
    let end = key_end(content);
    let rest = content[end..].trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim();
    let unescaped = |text: &str| unescape(text).map_err(|problem| (line, problem));
    let (key, value) = (unescaped(&content[..end])?, unescaped(value)?);
    if key.is_empty() {
        return Err((line, format!("'{content}' has no key; expected key=value")));
    }
    Ok(Property { line, key, value })
}

/// Where the first separator is that no backslash guards.
fn key_end(content: &str) -> usize {
    let mut escaped = false;
    for (at, c) in content.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' | ' ' | '\t' => return at,
            _ => {}
        }
    }
    content.len()
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('u') => {
                let hex: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 4);
                let c = code.and_then(char::from_u32);
                plain.push(c.ok_or_else(|| format!("'\\u{hex}' is not a character"))?);
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let parsed = parse(text).expect("valid");
        parsed.into_iter().map(|p| (p.line, p.key, p.value)).collect()
    }

    #[test]
    fn the_syntax_is_that_of_java() {
        let text = "# comment\n\n! also\nnode.id=1\nlog.dirs : /a,\\\n   /b\n  empty=\nwide\\ key x\\u0041\n";
        let expected = [
            (4, "node.id", "1"),
            (5, "log.dirs", "/a,/b"),
            (7, "empty", ""),
            (8, "wide key", "xA"),
        ];
        let expected = expected.map(|(line, k, v)| (line, k.to_owned(), v.to_owned()));
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        assert_eq!(parse("a=1\n=2").expect_err("no key").0, 2);
        assert_eq!(parse("a=\\uZZZZ").expect_err("no character").0, 1);
    }
}
