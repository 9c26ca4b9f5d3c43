//! The device list's filter as a person types it: words, and terms such as `tag:beta version:1.1.0 state:online`.

use super::model::Filter;

/// The states that `state:` knows, with the word that a person reads.
pub const STATES: [(&str, &str); 4] = [
    ("online", "Online"),
    ("updating", "Updating"),
    ("offline", "Offline"),
    ("new", "Never seen"),
];
/// Longest filter, in bytes.
const LEN_MAX: usize = 500;

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// Where the wrong term begins, in bytes.
    pub at: usize,
    /// How long it is, in bytes.
    pub len: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Reads a filter.
///
/// # Errors
/// [`QueryError`] for the first wrong term.
pub fn parse(text: &str) -> Result<Filter, QueryError> {
    let mut filter = Filter::default();
    if text.len() > LEN_MAX {
        return Err(QueryError {
            at: 0,
            len: 0,
            message: format!("A filter has {LEN_MAX} bytes at most."),
        });
    }
    for (at, term) in terms(text) {
        take(&mut filter, term).map_err(|message| QueryError {
            at,
            len: term.len(),
            message,
        })?;
    }
    Ok(filter)
}

fn take(filter: &mut Filter, term: &str) -> Result<(), String> {
    let Some((key, value)) = term.split_once(':') else {
        filter.words.push(term.to_owned());
        return Ok(());
    };
    if value.is_empty() {
        return Err(format!("Say what {key} should be, as in {key}:{}.", example(key)));
    }
    let value = value.to_owned();
    match key {
        "tag" => filter.tags.push(value),
        "version" => filter.version = Some(value),
        "platform" => filter.platform = Some(value),
        "arch" => filter.architecture = Some(value),
        "state" => match value.as_str() {
            "online" => filter.connection = Some("connected"),
            "offline" => filter.connection = Some("disconnected"),
            "new" => filter.connection = Some("not_seen"),
            "updating" => filter.updating = Some(true),
            _ => return Err("state is one of online, updating, offline, new.".to_owned()),
        },
        _ => {
            return Err(format!(
                "{key}: is not known; the terms are state, tag, version, platform and arch."
            ));
        }
    }
    Ok(())
}

fn example(key: &str) -> &'static str {
    match key {
        "tag" => "beta",
        "version" => "1.1.0",
        "state" => "online",
        "platform" => "rpi4",
        "arch" => "aarch64",
        _ => "value",
    }
}

/// The terms of a filter, each with where it begins.
fn terms(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(char::is_whitespace).filter_map(move |term| {
        let at = term.as_ptr() as usize - text.as_ptr() as usize;
        (!term.is_empty()).then_some((at, term))
    })
}

/// Whether a filter has this term.
pub fn has(text: &str, term: &str) -> bool {
    terms(text).any(|(_, one)| one == term)
}

/// The filter with the term `key:value` put in the place of others of its key, or taken out if it was there.
pub fn toggle(text: &str, key: &str, value: &str) -> String {
    let term = format!("{key}:{value}");
    let prefix = format!("{key}:");
    let was = has(text, &term);
    let mut kept: Vec<&str> = terms(text)
        .map(|(_, one)| one)
        .filter(|one| !one.starts_with(&prefix))
        .collect();
    if !was {
        kept.insert(0, &term);
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_filter_has_terms_and_words() {
        let filter = parse(" lobby tag:beta  version:1.1.0 state:online tag:eu").unwrap();
        assert_eq!(filter.words, ["lobby"]);
        assert_eq!(filter.tags, ["beta", "eu"]);
        assert_eq!(filter.version.as_deref(), Some("1.1.0"));
        assert_eq!(filter.connection, Some("connected"));
        assert_eq!(parse("").unwrap(), Filter::default());
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_stands() {
        let error = parse("lobby colour:red").unwrap_err();
        assert_eq!((error.at, error.len), (6, 10));
        assert!(error.message.contains("colour: is not known"));
        assert!(parse("state:on").unwrap_err().message.contains("one of online"));
        assert!(parse("tag:").unwrap_err().message.contains("tag:beta"));
    }

    #[test]
    fn a_chip_turns_its_term_on_and_off() {
        assert_eq!(toggle("lobby", "state", "online"), "state:online lobby");
        assert_eq!(toggle("state:online lobby", "state", "offline"), "state:offline lobby");
        assert_eq!(toggle("state:online lobby", "state", "online"), "lobby");
    }

    proptest! {
        #[test]
        fn an_error_points_into_the_text(text in "\\PC{0,60}") {
            if let Err(error) = parse(&text) {
                prop_assert!(text.get(error.at..error.at + error.len).is_some());
            }
        }
    }
}
