//! Lists: how they are sorted, and where their pages begin. Both stand in the URL; a page begins after a key, not at a
//! number of rows, so that the millionth row is as quick as the first.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::page;

/// Rows of one page.
pub const PAGE: i64 = 50;

/// Where a page begins: the value that rows are sorted by, and what tells equal rows apart.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Key {
    /// The sorted value of the row beside the page, as text; `None` where it has none.
    pub value: Option<String>,
    /// The row's own name.
    pub tie: String,
}

impl Key {
    /// For a URL.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// From a URL; anything else is no key.
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

/// Which side of its key a page lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The first page.
    Start,
    /// The rows after this one.
    After(Key),
    /// The rows before this one.
    Before(Key),
}

/// What a list's URL says.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct Listing {
    /// The filter, as it was typed.
    pub q: String,
    /// The column's name; a leading `-` turns it round.
    pub sort: String,
    /// The page begins after this key.
    pub after: Option<String>,
    /// The page ends before this key.
    pub before: Option<String>,
}

impl Listing {
    /// The column that the list is sorted by, and whether it is turned round.
    pub fn column(&self) -> (&str, bool) {
        match self.sort.strip_prefix('-') {
            Some(column) => (column, true),
            None => (self.sort.as_str(), false),
        }
    }

    /// Where the page begins.
    pub fn from(&self) -> From {
        let key = |text: &Option<String>| text.as_deref().and_then(Key::decode);
        match (key(&self.after), key(&self.before)) {
            (Some(key), _) => From::After(key),
            (None, Some(key)) => From::Before(key),
            (None, None) => From::Start,
        }
    }

    /// The list with another filter.
    pub fn filtered(&self, q: &str) -> String {
        query(&[("q", q), ("sort", &self.sort)])
    }

    /// The list sorted by `column`; by the same one it is turned round.
    pub fn sorted(&self, column: &str) -> String {
        let sort = if self.sort == column {
            format!("-{column}")
        } else {
            column.to_owned()
        };
        query(&[("q", &self.q), ("sort", &sort)])
    }

    /// The page after this row.
    pub fn after(&self, key: &Key) -> String {
        query(&[("q", &self.q), ("sort", &self.sort), ("after", &key.encode())])
    }

    /// The page before this row.
    pub fn before(&self, key: &Key) -> String {
        query(&[("q", &self.q), ("sort", &self.sort), ("before", &key.encode())])
    }
}

/// `?a=b&c=d` of the pairs that say something.
fn query(pairs: &[(&str, &str)]) -> String {
    let said: Vec<String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", page::escape(value)))
        .collect();
    if said.is_empty() {
        "?".to_owned()
    } else {
        format!("?{}", said.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::{From, Key, Listing};

    #[test]
    fn a_key_comes_back_from_the_url() {
        let key = Key {
            value: None,
            tie: "kiosk-0001".to_owned(),
        };
        let listing = Listing {
            after: Some(key.encode()),
            ..Listing::default()
        };
        assert_eq!(listing.from(), From::After(key));
        assert_eq!(Key::decode("nonsense"), None);
    }

    #[test]
    fn urls_say_only_what_differs() {
        let listing = Listing {
            q: "tag:beta kiosk".to_owned(),
            sort: "version".to_owned(),
            ..Listing::default()
        };
        assert_eq!(listing.sorted("version"), "?q=tag%3Abeta%20kiosk&sort=-version");
        assert_eq!(listing.filtered(""), "?sort=version");
        assert_eq!(Listing::default().filtered(""), "?");
    }
}
