//! A fleet in the database of the measured server: org, product, the CA of its devices, the devices.
//!
//! Rows are written directly. Devices' certificates are not: each device introduces itself by its CA at its first
//! connect, as a fleet does, and the server pins it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use sqlx::PgPool;
use uuid::Uuid;

/// Slots for more devices than there are.
const ALL: u32 = 100_000;

/// The devices' CA.
#[derive(Debug)]
pub struct Ca {
    der: Vec<u8>,
    key_identifier: Vec<u8>,
}

impl Ca {
    /// The CA in `folder`; made there if there is none.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join("ca.key");
        if !path.exists() {
            fs::write(&path, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem())?;
        }
        let key = KeyPair::from_pem(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "bench devices");
        params.serial_number = Some(SerialNumber::from(1_u64));
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2049, 12, 31);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key_identifier = params.key_identifier(&key);
        let certificate = params.self_signed(&key)?;
        fs::write(folder.join("ca.pem"), certificate.pem())?;
        Ok(Self {
            der: certificate.der().to_vec(),
            key_identifier,
        })
    }
}

/// What was registered.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    org: Uuid,
    product: Uuid,
    group: Uuid,
    release: Uuid,
    firmware: Uuid,
}

/// Registers devices swarm-00001 and on; a firmware newer than theirs, and a deployment of it that is off.
pub async fn register(db: &PgPool, ca: &Ca, devices: u32) -> anyhow::Result<Fleet> {
    let id = || Uuid::from_bytes(rand::random());
    let fleet = Fleet {
        org: id(),
        product: id(),
        group: id(),
        release: id(),
        firmware: id(),
    };
    let mut tx = db.begin().await?;
    sqlx::query("INSERT INTO orgs (id, name, created_at, updated_at) VALUES ($1, 'bench', now(), now())")
        .bind(fleet.org)
        .execute(&mut *tx)
        .await?;
    // Whoever is an admin of another org looks at this one too.
    sqlx::query("INSERT INTO memberships (org_id, user_id, role, created_at) SELECT $1, id, 'admin', now() FROM users")
        .bind(fleet.org)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO products (id, org_id, name, created_at, updated_at) VALUES ($1, $2, 'swarm', now(), now())",
    )
    .bind(fleet.product)
    .bind(fleet.org)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO ca_certificates (id, org_id, serial, ski, der, not_before, not_after, created_at)
         VALUES ($1, $2, '1', $3, $4, '2020-01-01', '2049-12-31', now())",
    )
    .bind(id())
    .bind(fleet.org)
    .bind(&ca.key_identifier)
    .bind(&ca.der)
    .execute(&mut *tx)
    .await
    .context("the CA")?;
    sqlx::query(
        "WITH device AS (
             INSERT INTO devices (id, org_id, product_id, identifier, created_at, updated_at)
             SELECT gen_random_uuid(), $1, $2, 'swarm-' || lpad(n::text, 5, '0'), now(), now()
             FROM generate_series(1, $3) AS n RETURNING id)
         INSERT INTO device_states (device_id) SELECT id FROM device",
    )
    .bind(fleet.org)
    .bind(fleet.product)
    .bind(devices.cast_signed())
    .execute(&mut *tx)
    .await
    .context("the devices")?;
    deployment(&mut tx, fleet).await.context("the deployment")?;
    tx.commit().await?;
    Ok(fleet)
}

async fn deployment(conn: &mut sqlx::PgConnection, fleet: Fleet) -> anyhow::Result<()> {
    let key = Uuid::from_bytes(rand::random());
    sqlx::query(
        "INSERT INTO signing_keys (id, org_id, name, public_key, created_at) VALUES ($1, $2, 'bench', $3, now())",
    )
    .bind(key)
    .bind(fleet.org)
    .bind(rand::random::<[u8; 32]>())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO firmwares (id, org_id, product_id, signing_key_id, uuid, version, platform, architecture, size_bytes,
             sha256, blob, created_at)
         VALUES ($1, $2, $3, $4, $1, '1.1.0', 'rpi4', 'arm', 104857600, $5, 'none', now())",
    )
    .bind(fleet.firmware)
    .bind(fleet.org)
    .bind(fleet.product)
    .bind(key)
    .bind(rand::random::<[u8; 32]>())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO deployment_groups (id, org_id, product_id, name, concurrent_updates, created_at, updated_at)
         VALUES ($1, $2, $3, 'bench', 100000, now(), now())",
    )
    .bind(fleet.group)
    .bind(fleet.org)
    .bind(fleet.product)
    .execute(&mut *conn)
    .await?;
    sqlx::query("INSERT INTO releases (id, group_id, number, firmware_id, created_at) VALUES ($1, $2, 1, $3, now())")
        .bind(fleet.release)
        .bind(fleet.group)
        .bind(fleet.firmware)
        .execute(conn)
        .await?;
    Ok(())
}

impl Fleet {
    /// Turns the deployment off and takes back what it assigned.
    pub async fn stop(&self, db: &PgPool) -> anyhow::Result<()> {
        let mut tx = db.begin().await?;
        sqlx::query("UPDATE deployment_groups SET state = 'off' WHERE id = $1")
            .bind(self.group)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "UPDATE updates SET status = 'withdrawn', ended_at = now() WHERE group_id = $1 AND ended_at IS NULL",
        )
        .bind(self.group)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Turns the deployment on, as an operator does; when (just before the commit).
    pub async fn start(&self, db: &PgPool) -> anyhow::Result<u64> {
        let mut tx = db.begin().await?;
        self.turn_on(&mut tx, ALL).await?;
        sqlx::query("INSERT INTO events (at, org_id, product_id, kind, subject_id) VALUES (now(), $1, $2, 'deployment.changed', $3)")
            .bind(self.org)
            .bind(self.product)
            .bind(self.group)
            .execute(&mut *tx)
            .await?;
        commit(tx).await
    }

    /// Hands one update for each of the first devices to whoever holds their links, past the scheduler; when (just before
    /// the commit).
    pub async fn assign(&self, db: &PgPool, devices: u32) -> anyhow::Result<u64> {
        let mut tx = db.begin().await?;
        // No slot is left that the scheduler could fill meanwhile.
        self.turn_on(&mut tx, devices).await?;
        let to = "FROM devices d WHERE d.product_id = $1 AND d.identifier <= 'swarm-' || lpad($2::text, 5, '0')";
        let updates = format!(
            "INSERT INTO updates (id, org_id, product_id, device_id, group_id, release_id, firmware_id, status, assigned_at,
                 updated_at)
             SELECT gen_random_uuid(), d.org_id, d.product_id, d.id, $3, $4, $5, 'assigned', now(), now() {to}"
        );
        sqlx::query(sqlx::AssertSqlSafe(updates))
            .bind(self.product)
            .bind(devices.cast_signed())
            .bind(self.group)
            .bind(self.release)
            .bind(self.firmware)
            .execute(&mut *tx)
            .await?;
        let events = format!(
            "INSERT INTO events (at, org_id, product_id, kind, subject_id)
             SELECT now(), d.org_id, d.product_id, 'device.assigned', d.id {to}"
        );
        sqlx::query(sqlx::AssertSqlSafe(events))
            .bind(self.product)
            .bind(devices.cast_signed())
            .execute(&mut *tx)
            .await?;
        commit(tx).await
    }

    async fn turn_on(&self, conn: &mut sqlx::PgConnection, slots: u32) -> anyhow::Result<()> {
        sqlx::query("UPDATE deployment_groups SET state = 'on', concurrent_updates = $2 WHERE id = $1")
            .bind(self.group)
            .bind(slots.cast_signed())
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// Commits, with the bell that makes every node look for news.
async fn commit(mut tx: sqlx::Transaction<'_, sqlx::Postgres>) -> anyhow::Result<u64> {
    sqlx::query("SELECT pg_notify('muster_events', '')")
        .execute(&mut *tx)
        .await?;
    let now_ns = super::stamp::now_ns();
    tx.commit().await?;
    Ok(now_ns)
}
