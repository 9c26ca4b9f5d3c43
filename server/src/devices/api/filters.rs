//! Filters and orders of the device list, as a query writes them.

use serde::Deserialize;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::devices::model::{Connection, Filter, Sort};
use crate::web::Error;
use crate::web::api::PageQuery;
use crate::web::coerce::{Words, boolean};

/// The query of a device list.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    filters: Map<String, Value>,
    sort: Option<String>,
    sort_direction: Option<String>,
    /// Which page; none means the client did not ask for pages.
    pub pagination: Option<PageQuery>,
}

impl ListQuery {
    /// The order: its column, and whether the largest comes first.
    ///
    /// # Errors
    /// 400 for a column or direction that there is none of.
    pub fn sort(&self) -> Result<(Sort, bool), Error> {
        let sort = match self.sort.as_deref().unwrap_or("identifier") {
            "identifier" => Sort::Identifier,
            "connection" | "connection_status" | "online" => Sort::Connection,
            "version" | "firmware_version" => Sort::Version,
            "connection_last_seen_at" | "last_communication" | "last_seen_at" => Sort::LastSeen,
            "connection_established_at" => Sort::Connected,
            "inserted_at" | "created_at" => Sort::Created,
            "tags" => Sort::Tags,
            other => return Err(Error::BadRequest(format!("devices cannot be sorted by {other}"))),
        };
        match self.sort_direction.as_deref().unwrap_or("asc") {
            "asc" => Ok((sort, false)),
            "desc" => Ok((sort, true)),
            other => Err(Error::BadRequest(format!("sort_direction is asc or desc, not {other}"))),
        }
    }

    /// The filter; empty values filter nothing.
    ///
    /// # Errors
    /// 400 for a filter that there is none of, and for a value that it does not know.
    pub fn filter(&self, now: OffsetDateTime) -> Result<Filter, Error> {
        let mut filter = Filter::default();
        for (name, value) in &self.filters {
            if !matches!(value, Value::Null) && value != "" {
                apply(&mut filter, name, value, now)?;
            }
        }
        Ok(filter)
    }
}

fn apply(filter: &mut Filter, name: &str, value: &Value, now: OffsetDateTime) -> Result<(), Error> {
    let unknown = || Error::BadRequest(format!("the filter {name} does not know {value}"));
    let text = || value.as_str().map(str::to_owned).ok_or_else(unknown);
    let flag = || boolean(value).ok_or_else(unknown);
    match name {
        "identifier" => filter.identifier_part = Some(text()?),
        "search" => filter.words = text()?.split_whitespace().map(str::to_owned).collect(),
        "tags" => {
            let Words(tags) = serde_json::from_value(value.clone()).map_err(|_| unknown())?;
            filter.tags = tags.into_iter().filter(|tag| !tag.is_empty()).collect();
        }
        "has_no_tags" => filter.untagged = flag()?.then_some(true),
        "connection" => connection(filter, &text()?, now).ok_or_else(unknown)?,
        "firmware_version" | "version" => filter.version = Some(text()?),
        "platform" => filter.platform = Some(text()?),
        "architecture" => filter.architecture = Some(text()?),
        "updates" => match text()?.as_str() {
            "enabled" => filter.updates_enabled = Some(true),
            "disabled" => filter.updates_enabled = Some(false),
            "penalty-box" => filter.blocked_at = Some(now),
            _ => return Err(unknown()),
        },
        "only_updating" => filter.updating = flag()?.then_some(true),
        "display_deleted" => match text()?.as_str() {
            "include" => filter.with_deleted = true,
            "only" => filter.only_deleted = true,
            "exclude" => {}
            _ => return Err(unknown()),
        },
        _ => return Err(Error::BadRequest(format!("there is no filter {name}"))),
    }
    Ok(())
}

fn connection(filter: &mut Filter, value: &str, now: OffsetDateTime) -> Option<()> {
    let known = [
        Connection::Connected,
        Connection::Connecting,
        Connection::Disconnected,
        Connection::NotSeen,
    ];
    match value {
        "not_seen_in_seven_days" => filter.silent_since = Some(now - Duration::days(7)),
        "not_seen_in_fourteen_days" => filter.silent_since = Some(now - Duration::days(14)),
        _ => {
            let found = known.into_iter().find(|connection| connection.name() == value)?;
            filter.connection = Some(found.name());
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-08-20 10:00 UTC);

    fn query(value: Value) -> ListQuery {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn filters_are_read_and_unknown_ones_refused() {
        let filter = query(json!({"filters": {
            "identifier": "kiosk", "tags": "a, b", "has_no_tags": "false", "connection": "not_seen_in_seven_days",
            "updates": "penalty-box", "only_updating": "true", "platform": "", "search": "two words"
        }}))
        .filter(NOW)
        .unwrap();
        let expected = Filter {
            identifier_part: Some("kiosk".to_owned()),
            tags: vec!["a".to_owned(), "b".to_owned()],
            silent_since: Some(datetime!(2026-08-13 10:00 UTC)),
            blocked_at: Some(NOW),
            updating: Some(true),
            words: vec!["two".to_owned(), "words".to_owned()],
            ..Filter::default()
        };
        assert_eq!(filter, expected);
        for bad in [
            json!({"colour": "red"}),
            json!({"connection": "maybe"}),
            json!({"updates": "x"}),
        ] {
            assert!(query(json!({ "filters": bad })).filter(NOW).is_err());
        }
    }

    #[test]
    fn the_order_is_by_identifier_unless_the_query_says_otherwise() {
        assert_eq!(query(json!({})).sort().unwrap(), (Sort::Identifier, false));
        let asked = query(json!({"sort": "connection_last_seen_at", "sort_direction": "desc"}));
        assert_eq!(asked.sort().unwrap(), (Sort::LastSeen, true));
        assert!(query(json!({"sort": "password"})).sort().is_err());
        assert!(query(json!({"sort_direction": "up"})).sort().is_err());
    }
}
