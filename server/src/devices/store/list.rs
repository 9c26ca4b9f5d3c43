//! Lists of devices: one query, its filters bound one by one.

use sqlx::{PgConnection, Postgres, QueryBuilder};

use crate::accounts::Viewer;
use crate::devices::model::{Device, Filter, Sort, Window};
use crate::products::Product;

pub(super) const COLUMNS: &str = "SELECT d.id, d.org_id, o.name AS org_name, d.product_id, p.name AS product_name, d.identifier, d.description,
    d.tags, d.updates_enabled, d.updates_blocked_until, d.extensions_off, d.first_seen_at, d.created_at, d.deleted_at, s.connection,
    s.connected_at, s.disconnected_at, s.disconnect_reason, s.last_seen_at, s.address, s.interface, s.api_version,
    s.fwup_version, s.firmware_uuid, s.firmware_product, s.firmware_version, s.firmware_platform, s.firmware_architecture,
    s.firmware_author, s.firmware_description, s.firmware_vcs_identifier, s.firmware_misc, s.firmware_since, s.validation,
    s.auto_reverted, s.update_status, s.update_percent";

const TABLES: &str = " FROM devices d JOIN device_states s ON s.device_id = d.id JOIN products p ON p.id = d.product_id
    JOIN orgs o ON o.id = d.org_id WHERE p.deleted_at IS NULL AND ";

/// A device of the product, deleted ones too.
pub(in crate::devices) async fn find(
    conn: &mut PgConnection,
    product: &Product,
    identifier: &str,
) -> sqlx::Result<Option<Device>> {
    let filter = Filter {
        identifier: Some(identifier.to_owned()),
        with_deleted: true,
        ..Filter::default()
    };
    let mut query = QueryBuilder::new(COLUMNS);
    push_filter(&mut query, product, &filter);
    query.build_query_as().fetch_optional(conn).await
}

/// Devices of this identifier in every org of the viewer.
pub(in crate::devices) async fn find_in_orgs(
    conn: &mut PgConnection,
    viewer: &Viewer,
    identifier: &str,
) -> sqlx::Result<Vec<Device>> {
    let mut query = QueryBuilder::new(COLUMNS);
    query
        .push(TABLES)
        .push("d.identifier = ")
        .push_bind(identifier.to_owned());
    query.push(" AND EXISTS (SELECT FROM memberships m WHERE m.org_id = d.org_id AND m.user_id = ");
    query.push_bind(viewer.user_id().0).push(") ORDER BY o.name LIMIT 20");
    query.build_query_as().fetch_all(conn).await
}

/// One page of the product's devices.
pub(in crate::devices) async fn list(
    conn: &mut PgConnection,
    product: &Product,
    filter: &Filter,
    window: Window,
) -> sqlx::Result<Vec<Device>> {
    let mut query = QueryBuilder::new(COLUMNS);
    push_filter(&mut query, product, filter);
    query.push(" ORDER BY ").push(match window.sort {
        Sort::Identifier => "d.identifier",
        Sort::Connection => "s.connection",
        Sort::Version => "s.firmware_version",
        Sort::LastSeen => "s.last_seen_at",
        Sort::Created => "d.created_at",
        Sort::Connected => "s.connected_at",
        Sort::Tags => "d.tags",
    });
    query.push(if window.descending {
        " DESC NULLS LAST"
    } else {
        " ASC NULLS FIRST"
    });
    query
        .push(", d.identifier LIMIT ")
        .push_bind(window.limit)
        .push(" OFFSET ")
        .push_bind(window.offset);
    query.build_query_as().fetch_all(conn).await
}

/// How many devices a filter shows.
pub(in crate::devices) async fn count(
    conn: &mut PgConnection,
    product: &Product,
    filter: &Filter,
) -> sqlx::Result<i64> {
    let mut query = QueryBuilder::new("SELECT count(*)");
    push_filter(&mut query, product, filter);
    query.build_query_scalar().fetch_one(conn).await
}

pub(super) fn push_filter(query: &mut QueryBuilder<Postgres>, product: &Product, filter: &Filter) {
    query.push(TABLES).push("d.product_id = ").push_bind(product.id().0);
    if filter.only_deleted {
        query.push(" AND d.deleted_at IS NOT NULL");
    } else if !filter.with_deleted {
        query.push(" AND d.deleted_at IS NULL");
    }
    if let Some(identifier) = &filter.identifier {
        query.push(" AND d.identifier = ").push_bind(identifier.clone());
    }
    if let Some(part) = &filter.identifier_part {
        query.push(" AND d.identifier ILIKE ").push_bind(containing(part));
    }
    if !filter.tags.is_empty() {
        query.push(" AND d.tags @> ").push_bind(filter.tags.clone());
    }
    for word in &filter.words {
        let pattern = containing(word);
        query.push(" AND (d.identifier ILIKE ").push_bind(pattern.clone());
        query.push(" OR d.description ILIKE ").push_bind(pattern);
        query.push(" OR ").push_bind(word.clone()).push(" = ANY (d.tags))");
    }
    push_facts(query, filter);
    if let Some(connection) = filter.connection {
        query.push(" AND s.connection = ").push_bind(connection);
    }
    for (column, value) in [
        ("s.firmware_version", &filter.version),
        ("s.firmware_platform", &filter.platform),
        ("s.firmware_architecture", &filter.architecture),
    ] {
        if let Some(value) = value {
            query.push(" AND ").push(column).push(" = ").push_bind(value.clone());
        }
    }
    if let Some(updating) = filter.updating {
        query.push(if updating {
            " AND s.update_status IS NOT NULL"
        } else {
            " AND s.update_status IS NULL"
        });
    }
}

fn push_facts(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if let Some(untagged) = filter.untagged {
        query.push(" AND (d.tags = '{}') = ").push_bind(untagged);
    }
    if let Some(since) = filter.silent_since {
        query.push(" AND s.last_seen_at < ").push_bind(since);
    }
    if let Some(enabled) = filter.updates_enabled {
        query.push(" AND d.updates_enabled = ").push_bind(enabled);
    }
    if let Some(at) = filter.blocked_at {
        query.push(" AND d.updates_blocked_until > ").push_bind(at);
    }
}

/// A pattern for texts that contain this one, whatever its characters.
fn containing(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}
