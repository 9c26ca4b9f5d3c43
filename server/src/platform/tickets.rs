//! TLS session tickets: sealed by keys that lie in the database under the vault, so that a device resumes its session on
//! every node and after a restart. A new key is made each day and the one before it still opens.
//!
//! A ticket holds what the peer proved when it was made: its certificates. It says nothing of whether they are still good,
//! which is decided anew on every connection.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::Platform;
use super::random::Random;
use super::vault::{Sealed, Vault, VaultError, VaultKeyId};

crate::declare_id! {
    /// A key of session tickets.
    TicketKeyId
}

/// How often the keys are looked at.
pub const REFRESH: std::time::Duration = std::time::Duration::from_mins(5);
/// A key is used for this long, …
const FRESH_FOR: Duration = Duration::days(1);
/// … opens what it sealed for this long, …
const OPENS_FOR: Duration = Duration::days(2);
/// … and is not used before every node knows it.
const SETTLES_IN: Duration = Duration::minutes(10);
/// How long a client may keep a ticket, in seconds.
const LIFETIME: u32 = 24 * 60 * 60;
const ID_LEN: usize = 16;

/// Seals and opens tickets. Cheap to clone.
#[derive(Clone)]
pub struct Tickets {
    keys: Arc<ArcSwap<Vec<Key>>>,
    random: Random,
}

struct Key {
    id: TicketKeyId,
    created_at: OffsetDateTime,
    cipher: LessSafeKey,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<TicketKeyId> = self.keys.load().iter().map(|key| key.id).collect();
        formatter
            .debug_struct("Tickets")
            .field("keys", &ids)
            .finish_non_exhaustive()
    }
}

impl Tickets {
    /// Without keys, so that no ticket is made.
    pub fn new(random: Random) -> Self {
        Self {
            keys: Arc::default(),
            random,
        }
    }

    /// Reads the keys, makes one when the newest is a day old, and forgets those that open nothing any more.
    ///
    /// # Errors
    /// When the database fails, or a key does not open: then the keys stay as they were.
    pub async fn refresh(&self, platform: &Platform) -> Result<(), VaultError> {
        let (now, vault) = (platform.clock.now(), &platform.vault);
        let mut tx = platform.db.begin().await?;
        lock(&mut tx).await?;
        let newest = newest(&mut tx).await?;
        if newest.is_none_or(|at| at < now - FRESH_FOR) {
            let id: TicketKeyId = platform.new_id();
            let secret = Zeroizing::new(self.random.bytes::<32>());
            let sealed = vault.seal(&mut tx, &binding(id), &*secret).await?;
            insert(&mut tx, id, &sealed, now).await?;
        }
        delete_before(&mut tx, now - OPENS_FOR).await?;
        let mut keys = Vec::new();
        for (id, sealed, created_at) in all(&mut tx).await? {
            let secret = vault.open(&mut tx, &binding(id), &sealed).await?;
            keys.push(Key {
                id,
                created_at,
                cipher: cipher(&secret)?,
            });
        }
        tx.commit().await?;
        // The one that seals comes first: the newest that every node knows, or at the beginning the only one.
        let seals = keys
            .iter()
            .position(|key| key.created_at <= now - SETTLES_IN)
            .unwrap_or(keys.len().saturating_sub(1));
        keys.rotate_left(seals);
        self.keys.store(Arc::new(keys));
        Ok(())
    }
}

fn binding(id: TicketKeyId) -> String {
    format!("ticket_keys.sealed.{id}")
}

fn cipher(secret: &[u8]) -> Result<LessSafeKey, VaultError> {
    UnboundKey::new(&AES_256_GCM, secret)
        .map(LessSafeKey::new)
        .map_err(|_| VaultError::Sealed)
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys.load().is_empty()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let key = keys.first()?;
        let nonce: [u8; NONCE_LEN] = self.random.bytes();
        let mut ticket = Vec::with_capacity(ID_LEN + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(key.id.0.as_bytes());
        ticket.extend_from_slice(&nonce);
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let bound = Aad::from(key.id.0.into_bytes());
        key.cipher.seal_in_place_append_tag(nonce, bound, &mut sealed).ok()?;
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_first_chunk::<ID_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.id.0.as_bytes() == id)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.cipher.open_in_place(nonce, Aad::from(*id), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

/// Seals every key anew by the vault's newest data key; how many.
///
/// # Errors
/// When one does not open, or the database fails.
pub async fn reseal(conn: &mut PgConnection, vault: &Vault) -> Result<usize, VaultError> {
    lock(conn).await?;
    let keys = all(conn).await?;
    let count = keys.len();
    for (id, sealed, _) in keys {
        let new = vault.reseal(conn, &binding(id), &sealed).await?;
        sqlx::query!(
            "UPDATE ticket_keys SET vault_key_id = $2, sealed = $3 WHERE id = $1",
            id.0,
            new.key.0,
            new.bytes
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(count)
}

/// Held until the transaction ends: nodes make keys one after another.
async fn lock(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('muster.ticket_keys'))")
        .execute(conn)
        .await?;
    Ok(())
}

async fn newest(conn: &mut PgConnection) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!("SELECT max(created_at) FROM ticket_keys")
        .fetch_one(conn)
        .await
}

async fn insert(conn: &mut PgConnection, id: TicketKeyId, sealed: &Sealed, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO ticket_keys (id, vault_key_id, sealed, created_at) VALUES ($1, $2, $3, $4)",
        id.0,
        sealed.key.0,
        sealed.bytes,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn delete_before(conn: &mut PgConnection, before: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM ticket_keys WHERE created_at < $1", before)
        .execute(conn)
        .await?;
    Ok(())
}

/// Newest first.
async fn all(conn: &mut PgConnection) -> sqlx::Result<Vec<(TicketKeyId, Sealed, OffsetDateTime)>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: TicketKeyId", vault_key_id AS "key: VaultKeyId", sealed, created_at FROM ticket_keys
           ORDER BY created_at DESC, id DESC"#
    )
    .fetch_all(conn)
    .await?;
    let keys = rows.into_iter().map(|row| {
        let sealed = Sealed {
            key: row.key,
            bytes: row.sealed,
        };
        (row.id, sealed, row.created_at)
    });
    Ok(keys.collect())
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::testing::Stage;

    fn key(tickets: &Tickets) -> Vec<u8> {
        tickets.encrypt(b"session").unwrap()[..ID_LEN].to_vec()
    }

    #[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
    async fn a_ticket_opens_on_every_node_and_after_a_restart_and_nothing_else_does(db: PgPool) {
        let stage = Stage::new(db).await;
        let platform = stage.platform();
        let [one, other] = [(); 2].map(|()| Tickets::new(platform.random.clone()));
        assert!(!one.enabled() && one.encrypt(b"session").is_none());
        one.refresh(platform).await.unwrap();
        other.refresh(platform).await.unwrap();
        let ticket = one.encrypt(b"session").unwrap();
        assert!(!ticket.windows(7).any(|bytes| bytes == b"session"));
        assert_eq!(other.decrypt(&ticket).unwrap(), b"session");
        for index in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[index] ^= 1;
            assert_eq!(other.decrypt(&damaged), None, "{index}");
            assert_eq!(other.decrypt(&ticket[..index]), None, "{index}");
        }
    }

    #[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
    async fn a_new_key_comes_each_day_settles_and_the_old_one_opens_for_another(db: PgPool) {
        let stage = Stage::new(db).await;
        let platform = stage.platform();
        let tickets = Tickets::new(platform.random.clone());
        tickets.refresh(platform).await.unwrap();
        let first = tickets.encrypt(b"session").unwrap();
        platform.clock.advance(FRESH_FOR + Duration::seconds(1));
        tickets.refresh(platform).await.unwrap();
        assert_eq!(key(&tickets), first[..ID_LEN]);
        platform.clock.advance(SETTLES_IN);
        tickets.refresh(platform).await.unwrap();
        assert_ne!(key(&tickets), first[..ID_LEN]);
        assert_eq!(tickets.decrypt(&first).unwrap(), b"session");
        platform.clock.advance(FRESH_FOR);
        tickets.refresh(platform).await.unwrap();
        assert_eq!(tickets.decrypt(&first), None);
        assert_eq!(tickets.keys.load().len(), 2);
    }

    #[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
    async fn the_keys_survive_a_rotation_of_the_vault(db: PgPool) {
        let stage = Stage::new(db).await;
        let platform = stage.platform();
        let tickets = Tickets::new(platform.random.clone());
        tickets.refresh(platform).await.unwrap();
        let ticket = tickets.encrypt(b"session").unwrap();
        let mut tx = platform.db.begin().await.unwrap();
        let kept = platform.vault.rotate(&mut tx).await.unwrap();
        platform.vault.reseal_secrets(&mut tx).await.unwrap();
        assert_eq!(reseal(&mut tx, &platform.vault).await.unwrap(), 1);
        platform.vault.retire(&mut tx, kept).await.unwrap();
        tx.commit().await.unwrap();
        let other = Tickets::new(platform.random.clone());
        other.refresh(platform).await.unwrap();
        assert_eq!(other.decrypt(&ticket).unwrap(), b"session");
    }
}
