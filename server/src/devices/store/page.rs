//! Pages of the device list by key: the row value that the list is sorted by, then the identifier.

use sqlx::{PgConnection, Postgres, QueryBuilder};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::list::{COLUMNS, push_filter};
use crate::devices::model::{Device, Filter, Page, PageFrom, PageKey, Sort};
use crate::products::Product;

/// What a list is sorted by; nothing is before everything.
fn column(sort: Sort) -> &'static str {
    match sort {
        Sort::Identifier => "d.identifier",
        Sort::Connection => "s.connection",
        Sort::Version => "coalesce(s.firmware_version, '')",
        Sort::LastSeen => "coalesce(s.last_seen_at, '-infinity')",
        Sort::Created => "d.created_at",
        Sort::Connected => "coalesce(s.connected_at, '-infinity')",
        Sort::Tags => "array_to_string(d.tags, ',')",
    }
}

/// The key of a row, from which the next page begins.
pub(in crate::devices) fn key(device: &Device, sort: Sort) -> PageKey {
    let time = |at: Option<OffsetDateTime>| at.and_then(|at| at.format(&Rfc3339).ok());
    PageKey {
        value: match sort {
            Sort::Identifier => None,
            Sort::Connection => Some(device.connection.name().to_owned()),
            Sort::Version => device.firmware_version.clone(),
            Sort::LastSeen => time(device.last_seen_at),
            Sort::Created => time(Some(device.created_at)),
            Sort::Connected => time(device.connected_at),
            Sort::Tags => Some(device.tags.join(",")),
        },
        identifier: device.identifier.clone(),
    }
}

/// At most `page.limit` devices from the page's key on, in the list's order.
pub(in crate::devices) async fn page(
    conn: &mut PgConnection,
    product: &Product,
    filter: &Filter,
    page: &Page,
) -> sqlx::Result<Vec<Device>> {
    let mut query = QueryBuilder::new(COLUMNS);
    push_filter(&mut query, product, filter);
    let (key, backwards) = match &page.from {
        PageFrom::Start => (None, false),
        PageFrom::After(key) => (Some(key), false),
        PageFrom::Before(key) => (Some(key), true),
    };
    let falling = page.descending != backwards;
    if let Some(key) = key {
        push_key(&mut query, page.sort, key, falling);
    }
    let direction = if falling { "DESC" } else { "ASC" };
    query.push(format!(" ORDER BY {} {direction}", column(page.sort)));
    query.push(format!(", d.identifier {direction} LIMIT "));
    query.push_bind(page.limit);
    let mut devices: Vec<Device> = query.build_query_as().fetch_all(conn).await?;
    if backwards {
        devices.reverse();
    }
    Ok(devices)
}

fn push_key(query: &mut QueryBuilder<Postgres>, sort: Sort, key: &PageKey, falling: bool) {
    let side = if falling { "<" } else { ">" };
    query.push(format!(" AND ({}, d.identifier) {side} (", column(sort)));
    let time = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
    };
    match sort {
        Sort::Identifier => query.push_bind(key.identifier.clone()),
        Sort::Connection | Sort::Version | Sort::Tags => query.push_bind(key.value.clone().unwrap_or_default()),
        Sort::LastSeen | Sort::Created | Sort::Connected => query
            .push("coalesce(")
            .push_bind(time(&key.value))
            .push(", '-infinity'::timestamptz)"),
    };
    query.push(", ").push_bind(key.identifier.clone()).push(")");
}

/// These devices of the product, for rows that changed.
pub(in crate::devices) async fn by_ids(
    conn: &mut PgConnection,
    product: &Product,
    ids: &[Uuid],
) -> sqlx::Result<Vec<Device>> {
    let mut query = QueryBuilder::new(COLUMNS);
    push_filter(&mut query, product, &Filter::default());
    query.push(" AND d.id = ANY (").push_bind(ids.to_vec()).push(")");
    query.build_query_as().fetch_all(conn).await
}
