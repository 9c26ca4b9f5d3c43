//! Secrets that must be read again (HMAC keys, CA keys) lie in the database only sealed: AES-256-GCM under a data key,
//! which is itself sealed by the master key. The master key never enters the database. What is sealed is bound to the
//! row it belongs to, so that it opens nowhere else.

mod rotate;

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sqlx::PgConnection;
use tokio::sync::RwLock;
use zeroize::Zeroizing;

use super::clock::Clock;
use super::ids::Id as _;
use super::random::Random;

crate::declare_id! {
    /// A data key of the vault.
    VaultKeyId
}

/// The 32-byte key outside the database.
pub type MasterKey = Zeroizing<[u8; 32]>;

/// Opens and seals.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    master: MasterKey,
    random: Random,
    clock: Clock,
    keys: RwLock<HashMap<VaultKeyId, Zeroizing<[u8; 32]>>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Vault")
    }
}

/// A secret under the vault, as a row stores it.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The data key that sealed it.
    pub key: VaultKeyId,
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
}

/// Why the vault failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The ciphertext does not open: wrong master key, wrong row, or damaged.
    #[error("a secret does not open; is this the master key that sealed it?")]
    Sealed,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Vault {
    /// A vault under this master key. Nothing is read yet.
    pub fn new(master: MasterKey, clock: Clock, random: Random) -> Self {
        Self(Arc::new(Inner {
            master,
            random,
            clock,
            keys: RwLock::default(),
        }))
    }

    /// Checks that the master key opens the newest data key, and makes the first one in an empty database.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when the master key is not the database's.
    pub async fn check(&self, conn: &mut PgConnection) -> Result<(), VaultError> {
        self.current_key(conn).await.map(|_| ())
    }

    /// Seals `secret`, bound to `binding` (table, column and id of its row).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seal(&self, conn: &mut PgConnection, binding: &str, secret: &[u8]) -> Result<Sealed, VaultError> {
        let key = self.current_key(conn).await?;
        let bytes = encrypt(&self.0.random, &*self.data_key(conn, key).await?, binding, secret)?;
        Ok(Sealed { key, bytes })
    }

    /// Opens what [`Vault::seal`] sealed for the same `binding`.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when it does not open.
    pub async fn open(
        &self,
        conn: &mut PgConnection,
        binding: &str,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        decrypt(&*self.data_key(conn, sealed.key).await?, binding, &sealed.bytes)
    }

    /// The server's own secret of this name, made at its first use: the same on every node.
    ///
    /// # Errors
    /// When it does not open, or the database fails.
    pub async fn secret(&self, conn: &mut PgConnection, name: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let found = match find_secret(conn, name).await? {
            Some(found) => found,
            None => self.make_secret(conn, name).await?,
        };
        let opened = self.open(conn, name, &found).await?;
        <[u8; 32]>::try_from(opened.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Sealed)
    }

    /// The first of several nodes that make it at once wins.
    async fn make_secret(&self, conn: &mut PgConnection, name: &str) -> Result<Sealed, VaultError> {
        let fresh = Zeroizing::new(self.0.random.bytes::<32>());
        let sealed = self.seal(conn, name, &*fresh).await?;
        sqlx::query!(
            "INSERT INTO secrets (name, vault_key_id, sealed, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
            name,
            sealed.key.0,
            sealed.bytes,
            self.0.clock.now()
        )
        .execute(&mut *conn)
        .await?;
        Ok(find_secret(conn, name).await?.unwrap_or(sealed))
    }

    /// Held until the transaction ends: keys are made, and things are sealed, one after another.
    async fn lock(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('muster.vault_keys'))")
            .execute(conn)
            .await?;
        Ok(())
    }

    async fn current_key(&self, conn: &mut PgConnection) -> Result<VaultKeyId, VaultError> {
        self.lock(conn).await?;
        let newest = sqlx::query_scalar!(
            r#"SELECT id AS "id: VaultKeyId" FROM vault_keys ORDER BY created_at DESC, id DESC LIMIT 1"#
        )
        .fetch_optional(&mut *conn)
        .await?;
        match newest {
            Some(id) => self.data_key(conn, id).await.map(|_| id),
            None => self.add_key(conn).await,
        }
    }

    /// Makes a new data key; what is sealed from now on is sealed by it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_key(&self, conn: &mut PgConnection) -> Result<VaultKeyId, VaultError> {
        let id = VaultKeyId::from_parts(&self.0.clock, &self.0.random);
        let key = Zeroizing::new(self.0.random.bytes::<32>());
        let sealed = encrypt(&self.0.random, &self.0.master, &id.to_string(), &*key)?;
        // The newest key is the one with the latest time, even where the clock went back.
        sqlx::query!(
            "INSERT INTO vault_keys (id, sealed, created_at)
             SELECT $1, $2, greatest($3, max(created_at) + interval '1 microsecond') FROM vault_keys",
            id.0,
            sealed,
            self.0.clock.now()
        )
        .execute(conn)
        .await?;
        Ok(id)
    }

    async fn data_key(&self, conn: &mut PgConnection, id: VaultKeyId) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        if let Some(key) = self.0.keys.read().await.get(&id) {
            return Ok(key.clone());
        }
        let sealed = sqlx::query_scalar!("SELECT sealed FROM vault_keys WHERE id = $1", id.0)
            .fetch_one(conn)
            .await?;
        let opened = decrypt(&self.0.master, &id.to_string(), &sealed)?;
        let key = Zeroizing::new(<[u8; 32]>::try_from(opened.as_slice()).map_err(|_| VaultError::Sealed)?);
        self.0.keys.write().await.insert(id, key.clone());
        Ok(key)
    }
}

async fn find_secret(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<Sealed>> {
    sqlx::query_as!(
        Sealed,
        r#"SELECT vault_key_id AS "key: VaultKeyId", sealed AS bytes FROM secrets WHERE name = $1"#,
        name
    )
    .fetch_optional(conn)
    .await
}

fn encrypt(random: &Random, key: &[u8; 32], binding: &str, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce: [u8; NONCE_LEN] = random.bytes();
    let mut sealed = secret.to_vec();
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(binding), &mut sealed)
        .map_err(|_| VaultError::Sealed)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn decrypt(key: &[u8; 32], binding: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Sealed)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = cipher(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(binding), &mut buffer)
        .map_err(|_| VaultError::Sealed)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, VaultError> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| VaultError::Sealed)
}

#[cfg(test)]
mod tests;
