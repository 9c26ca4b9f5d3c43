//! Printing `meta.conf` byte for byte as fwup does, so that UUIDs and signatures agree (format §2.2).

use super::{Bytes, Section, Value, schema::Kind};

/// The canonical text of a config; what only a config may say is left out.
pub(crate) fn print(root: &Section) -> Bytes {
    let mut out = Bytes::new();
    body(root, &mut out);
    if out.is_empty() {
        out.extend_from_slice(b"# Empty file\n");
    }
    out
}

fn body(section: &Section, out: &mut Bytes) {
    for (spec, value) in section.options() {
        let Some(value) = value.filter(|value| spec.emitted && !is_default(spec.kind, value)) else {
            continue;
        };
        out.extend_from_slice(spec.name.as_bytes());
        out.push(b'=');
        print_value(value, out);
        out.push(b'\n');
    }
    for spec in section.spec.sections {
        for child in section.sections(spec.name) {
            print_section(child, out);
        }
    }
}

fn print_section(section: &Section, out: &mut Bytes) {
    let mut inside = Bytes::new();
    body(section, &mut inside);
    if inside.is_empty() && !section.spec.keep_empty {
        return;
    }
    out.extend_from_slice(section.spec.name.as_bytes());
    if section.spec.titled {
        out.push(b' ');
        print_quoted(&section.title, out);
    }
    out.extend_from_slice(b" {\n");
    out.extend(inside);
    out.extend_from_slice(b"}\n");
}

fn is_default(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Text(default), Value::Text(text)) => text.is_empty() || text == default.as_bytes(),
        (Kind::Number(default), Value::Number(number)) => *number == default,
        (Kind::Flag, Value::Flag(flag)) => !flag,
        (_, Value::List(list)) => list.is_empty(),
        (_, Value::Numbers(list)) => list.is_empty(),
        _ => false,
    }
}

fn print_value(value: &Value, out: &mut Bytes) {
    match value {
        Value::Text(text) => out.extend(quote(text)),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Flag(flag) => out.extend_from_slice(flag.to_string().as_bytes()),
        Value::List(list) => print_list(list.iter().map(|word| quote(word)), out),
        Value::Numbers(list) if list.len() == 1 => out.extend_from_slice(list[0].to_string().as_bytes()),
        Value::Numbers(list) => print_list(list.iter().map(|number| number.to_string().into_bytes()), out),
    }
}

fn print_list(words: impl Iterator<Item = Bytes>, out: &mut Bytes) {
    out.push(b'{');
    for (at, word) in words.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend(word);
    }
    out.push(b'}');
}

/// A string as a word of a config: bare where that is enough, else in double quotes.
pub(crate) fn quote(text: &[u8]) -> Bytes {
    if !text.is_empty()
        && text
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.'))
    {
        return text.to_vec();
    }
    let mut out = Bytes::with_capacity(text.len() + 2);
    print_quoted(text, &mut out);
    out
}

fn print_quoted(text: &[u8], out: &mut Bytes) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
