//! SQL of the archives that releases have.

pub(in crate::deployments) mod sweep;

use sqlx::PgConnection;

use crate::archives::ArchiveId;
use crate::deployments::model::GroupId;
use crate::products::Product;

/// The archive of the group's current release.
pub(in crate::deployments) async fn current(
    conn: &mut PgConnection,
    product: &Product,
    group: GroupId,
) -> sqlx::Result<Option<ArchiveId>> {
    let archive = sqlx::query_scalar!(
        r#"SELECT r.archive_id AS "id: ArchiveId" FROM releases r JOIN deployment_groups g ON g.id = r.group_id
           WHERE r.group_id = $1 AND g.product_id = $2 ORDER BY r.number DESC LIMIT 1"#,
        group.0,
        product.id().0
    )
    .fetch_optional(conn)
    .await?;
    Ok(archive.flatten())
}
