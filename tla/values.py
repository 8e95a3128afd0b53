"""Reads the values that TLC prints: numbers, strings, booleans, sets, sequences, records, functions."""

import re

TOKEN = re.compile(r'\s*(<<|>>|\|->|:>|@@|"[^"]*"|-?\d+|\w+|[\[\]{}(),])')


def parse(text):
    """The value of `text`: sets are frozensets, sequences tuples, records and functions dicts."""
    tokens = TOKEN.findall(text)
    value, rest = _value(tokens, 0)
    if rest != len(tokens):
        raise ValueError(f"more than one value: {text!r}")
    return value


def _value(tokens, at):
    token = tokens[at]
    if token == "<<":
        items, at = _items(tokens, at + 1, ">>")
        return tuple(items), at
    if token == "{":
        items, at = _items(tokens, at + 1, "}")
        return frozenset(items), at
    if token == "[":
        return _record(tokens, at + 1)
    if token == "(":
        return _function(tokens, at + 1)
    if token in ("TRUE", "FALSE"):
        return token == "TRUE", at + 1
    if token.startswith('"'):
        return token[1:-1], at + 1
    return int(token), at + 1


def _items(tokens, at, close):
    items = []
    while tokens[at] != close:
        if tokens[at] == ",":
            at += 1
        item, at = _value(tokens, at)
        items.append(item)
    return items, at + 1


def _record(tokens, at):
    record = {}
    while tokens[at] != "]":
        if tokens[at] == ",":
            at += 1
        record[tokens[at]], at = _value(tokens, at + 2)
    return record, at + 1


def _function(tokens, at):
    function = {}
    while tokens[at] != ")":
        if tokens[at] == "@@":
            at += 1
        key, at = _value(tokens, at)
        function[key], at = _value(tokens, at + 1)
    return function, at + 1


def states(dump):
    """Each state of a file that `-dump` wrote, as a dict of its variables."""
    variables, name = {}, None
    for line in dump:
        if line.startswith("State ") or not line.strip():
            if variables:
                yield {name: parse(text) for name, text in variables.items()}
            variables = {}
        elif line.startswith("/\\ "):
            name, text = line[3:].split(" = ", 1)
            variables[name] = text
        elif name in variables:
            variables[name] += line
        else:
            # A single variable is printed without the conjunction.
            name, text = line.split(" = ", 1)
            variables[name] = text
    if variables:
        yield {name: parse(text) for name, text in variables.items()}
