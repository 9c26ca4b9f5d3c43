//! What a join brings beside the update: the archive of the group's release, and the code of connects.

use super::*;

const FIRMWARE: Uuid = Uuid::from_u128(7);
const GROUP: Uuid = Uuid::from_u128(9);

/// A group with firmware and, by its second release, an archive; the first `members` devices are in it.
async fn group(links: &Links, members: u128) {
    let platform = links.stage.platform();
    let (org, product) = (links.peers[0].org(), links.peers[0].product());
    for sql in [
        "INSERT INTO signing_keys (id, org_id, name, public_key, created_at)
             VALUES ('00000000-0000-0000-0000-000000000005', $1, 'prod', decode(repeat('07', 32), 'hex'), now())",
        "INSERT INTO firmwares (id, org_id, product_id, signing_key_id, uuid, version, platform, architecture, size_bytes, sha256,
             blob, created_at)
             SELECT '00000000-0000-0000-0000-000000000007', $1, p.id, k.id, '00000000-0000-0000-0000-000000000007', '2.0.0', 'x', 'y',
                 1, decode(repeat('07', 32), 'hex'), 'f', now() FROM products p, signing_keys k",
        "INSERT INTO archives (id, org_id, product_id, signing_key_id, uuid, version, description, platform, architecture,
             size_bytes, sha256, blob, created_at)
             SELECT '00000000-0000-0000-0000-000000000008', $1, p.id, k.id, '00000000-0000-0000-0000-000000000018', '0.3.1', 'models',
                 'x', 'y', 123456, decode(repeat('07', 32), 'hex'), 'a', '2026-08-01T09:00:00Z' FROM products p, signing_keys k",
        "INSERT INTO deployment_groups (id, org_id, product_id, name, connecting_code, created_at, updated_at)
             SELECT '00000000-0000-0000-0000-000000000009', $1, id, 'all', 'group()', now(), now() FROM products",
    ] {
        sqlx::query(sql).bind(org.0).execute(&platform.db).await.unwrap();
    }
    release(links, 1, None).await;
    release(links, 2, Some(Uuid::from_u128(8))).await;
    let sql = "INSERT INTO deployment_members (device_id, group_id, since)
               SELECT id, $1, now() FROM devices WHERE product_id = $2 ORDER BY id LIMIT $3";
    let query = sqlx::query(sql).bind(GROUP).bind(product.0).bind(members as i64);
    query.execute(&platform.db).await.unwrap();
}

async fn release(links: &Links, number: i32, archive: Option<Uuid>) {
    let sql = "INSERT INTO releases (id, group_id, number, firmware_id, archive_id, created_at)
               VALUES (gen_random_uuid(), $1, $2, $3, $4, now())";
    let query = sqlx::query(sql).bind(GROUP).bind(number).bind(FIRMWARE).bind(archive);
    query.execute(&links.stage.platform().db).await.unwrap();
}

/// What these devices are told, joined in one batch.
async fn welcomes(links: &mut Links, devices: usize) -> Vec<Welcome> {
    let answers: Vec<_> = (0..devices)
        .map(|device| {
            let link = links.link();
            links.join(device, link, "1.0.0")
        })
        .collect();
    links.write().await;
    let mut welcomes = Vec::new();
    for answer in answers {
        welcomes.push(answer.await.unwrap());
    }
    welcomes
}

async fn set(links: &Links, device: usize, sql: &str) {
    let query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).bind(links.peers[device].device().0);
    query.execute(&links.stage.platform().db).await.unwrap();
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_join_brings_the_archive_to_who_may_be_told(db: PgPool) {
    let mut links = Links::new(db, 7).await;
    group(&links, 6).await;
    set(&links, 1, "UPDATE devices SET updates_enabled = false WHERE id = $1").await;
    set(
        &links,
        2,
        "UPDATE devices SET updates_blocked_until = '2026-08-20T10:11:13Z' WHERE id = $1",
    )
    .await;
    set(
        &links,
        3,
        "UPDATE devices SET updates_blocked_until = '2026-08-20T10:11:12Z' WHERE id = $1",
    )
    .await;
    // This one comes back without what it was to install, and is left alone for it.
    let sql = "WITH s AS (UPDATE device_states SET update_status = 'completed' WHERE device_id = $1)
               INSERT INTO updates (id, org_id, product_id, device_id, group_id, firmware_id, status, assigned_at, updated_at)
               SELECT gen_random_uuid(), org_id, product_id, id, '00000000-0000-0000-0000-000000000009',
                   '00000000-0000-0000-0000-000000000007', 'completed', now(), now() FROM devices WHERE id = $1";
    set(&links, 4, sql).await;
    let told = welcomes(&mut links, 7).await;
    let has: Vec<bool> = told.iter().map(|welcome| welcome.archive.is_some()).collect();
    assert_eq!(has, [true, false, false, true, false, true, false]);
    let archive = told[0].archive.as_deref().unwrap();
    assert_eq!(archive.uuid, Uuid::from_u128(0x18).to_string());
    assert_eq!((archive.version.as_str(), archive.size), ("0.3.1", Some(123_456)));
    assert_eq!(archive.description.as_deref(), Some("models"));
    assert_eq!(archive.uploaded_at, "2026-08-01T09:00:00");
    let (org, device) = (links.peers[0].org(), links.peers[0].device());
    let expires = links.stage.platform().clock.now().unix_timestamp() + 3600;
    let url = format!(
        "https://localhost:4001/archives/{org}/{}.fw?device={device}&expires={expires}&",
        Uuid::from_u128(8)
    );
    assert!(archive.url.starts_with(&url), "{}", archive.url);

    release(&links, 3, None).await;
    let told = welcomes(&mut links, 1).await;
    assert_eq!(told[0].archive, None, "only the current release counts");
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_join_brings_the_groups_code_and_then_the_devices_own(db: PgPool) {
    let mut links = Links::new(db, 4).await;
    group(&links, 2).await;
    set(&links, 1, "UPDATE devices SET connecting_code = 'own()' WHERE id = $1").await;
    set(&links, 2, "UPDATE devices SET connecting_code = 'own()' WHERE id = $1").await;
    let told = welcomes(&mut links, 4).await;
    let codes: Vec<&str> = told.iter().map(|welcome| welcome.connecting_code.as_str()).collect();
    assert_eq!(codes, ["group()", "group()\nown()", "own()", ""]);
}
