//! Values of a specification, written as TLA+ writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A value as a TLA+ specification has it in a variable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Value {
    Int(i64),
    Bool(bool),
    Text(&'static str),
    /// `<<a, b>>`, which is a function from 1 to its length as well.
    Sequence(Vec<Value>),
    Set(BTreeSet<Value>),
    Record(BTreeMap<&'static str, Value>),
    /// `1 :> a @@ 2 :> b`
    Function(BTreeMap<i64, Value>),
}

impl Value {
    pub fn record<const N: usize>(fields: [(&'static str, Value); N]) -> Value {
        Value::Record(fields.into())
    }

    pub fn set(members: impl IntoIterator<Item = Value>) -> Value {
        Value::Set(members.into_iter().collect())
    }

    pub fn sequence(items: impl IntoIterator<Item = Value>) -> Value {
        Value::Sequence(items.into_iter().collect())
    }

    /// A function whose domain is `keys`.
    pub fn function(entries: impl IntoIterator<Item = (i64, Value)>) -> Value {
        Value::Function(entries.into_iter().collect())
    }

    /// A record that has `kind` and nothing else.
    pub fn kind(kind: &'static str) -> Value {
        Value::record([("kind", Value::Text(kind))])
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Value {
        Value::Text(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Bool(true) => f.write_str("TRUE"),
            Value::Bool(false) => f.write_str("FALSE"),
            Value::Text(value) => write!(f, "\"{value}\""),
            Value::Sequence(items) => list(f, "<<", items, ">>"),
            Value::Set(members) => list(f, "{", members, "}"),
            Value::Record(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("{name} |-> {value}"));
                write!(f, "[{}]", fields.collect::<Vec<_>>().join(", "))
            }
            Value::Function(entries) if entries.is_empty() => f.write_str("<<>>"),
            Value::Function(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key} :> {value}"));
                write!(f, "({})", entries.collect::<Vec<_>>().join(" @@ "))
            }
        }
    }
}

fn list<'a>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: impl IntoIterator<Item = &'a Value>,
    close: &str,
) -> fmt::Result {
    let items: Vec<String> = items.into_iter().map(Value::to_string).collect();
    write!(f, "{open}{}{close}", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_tla_writes_them() {
        let isr = Value::set([Value::from(2), Value::from(1), Value::from(2)]);
        let entries = [(0, Value::from(-1)), (1, Value::from(0))];
        let value = Value::record([
            ("isr", isr),
            ("log", Value::sequence([Value::from("a"), Value::from(true)])),
            ("acknowledged", Value::function(entries)),
            ("nothing", Value::function([])),
        ]);
        let text = "[acknowledged |-> (0 :> -1 @@ 1 :> 0), isr |-> {1, 2}, \
                    log |-> <<\"a\", TRUE>>, nothing |-> <<>>]";
        assert_eq!(value.to_string(), text);
    }
}
