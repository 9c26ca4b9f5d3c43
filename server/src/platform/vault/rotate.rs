//! New keys for the vault. A rotation is one transaction: a new data key, everything sealed anew by it, the old keys gone.
//! While it runs nothing else is sealed, so nothing is left behind under an old key.

use sqlx::PgConnection;

use super::{MasterKey, Sealed, Vault, VaultError, VaultKeyId, decrypt, encrypt};

impl Vault {
    /// Makes the data key that everything is to be sealed by from now on. Then [`Vault::reseal`] what rows hold, and end
    /// with [`Vault::retire`], all in one transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate(&self, conn: &mut PgConnection) -> Result<VaultKeyId, VaultError> {
        self.lock(conn).await?;
        self.add_key(conn).await
    }

    /// What is sealed, sealed anew by the newest key for the same binding.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when it does not open.
    pub async fn reseal(&self, conn: &mut PgConnection, binding: &str, sealed: &Sealed) -> Result<Sealed, VaultError> {
        let secret = self.open(conn, binding, sealed).await?;
        self.seal(conn, binding, &secret).await
    }

    /// Reseals the server's own secrets; says how many.
    ///
    /// # Errors
    /// When one does not open, or the database fails.
    pub async fn reseal_secrets(&self, conn: &mut PgConnection) -> Result<usize, VaultError> {
        let rows = sqlx::query!(r#"SELECT name, vault_key_id AS "key: VaultKeyId", sealed FROM secrets FOR UPDATE"#)
            .fetch_all(&mut *conn)
            .await?;
        let count = rows.len();
        for row in rows {
            let old = Sealed {
                key: row.key,
                bytes: row.sealed,
            };
            let new = self.reseal(conn, &row.name, &old).await?;
            sqlx::query!(
                "UPDATE secrets SET vault_key_id = $2, sealed = $3 WHERE name = $1",
                row.name,
                new.key.0,
                new.bytes
            )
            .execute(&mut *conn)
            .await?;
        }
        Ok(count)
    }

    /// Deletes every data key but `kept`. Whatever still needs one refers to it, and then the database refuses.
    ///
    /// # Errors
    /// When something was not resealed, or the database fails.
    pub async fn retire(&self, conn: &mut PgConnection, kept: VaultKeyId) -> Result<(), VaultError> {
        sqlx::query!("DELETE FROM vault_keys WHERE id <> $1", kept.0)
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Seals every data key by another master key. From the commit on, servers need that one.
    ///
    /// # Errors
    /// When a data key does not open, or the database fails.
    pub async fn rewrap(&self, conn: &mut PgConnection, master: &MasterKey) -> Result<(), VaultError> {
        self.lock(conn).await?;
        let rows = sqlx::query!(r#"SELECT id AS "id: VaultKeyId", sealed FROM vault_keys FOR UPDATE"#)
            .fetch_all(&mut *conn)
            .await?;
        for row in rows {
            let binding = row.id.to_string();
            let key = decrypt(&self.0.master, &binding, &row.sealed)?;
            let sealed = encrypt(&self.0.random, master, &binding, &key)?;
            sqlx::query!("UPDATE vault_keys SET sealed = $2 WHERE id = $1", row.id.0, sealed)
                .execute(&mut *conn)
                .await?;
        }
        Ok(())
    }
}
