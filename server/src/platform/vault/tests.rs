//! Tests of the vault, on a real database.

use sqlx::PgPool;
use time::macros::datetime;
use zeroize::Zeroizing;

use super::*;

fn vault(master: u8) -> Vault {
    let clock = Clock::manual(datetime!(2026-01-01 00:00 UTC));
    Vault::new(Zeroizing::new([master; 32]), clock, Random::system())
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_is_sealed_opens_for_its_own_row_only(db: PgPool) {
    let mut conn = db.acquire().await.unwrap();
    let sealed = vault(1).seal(&mut conn, "table.column.1", b"sesame").await.unwrap();
    assert!(!sealed.bytes.windows(6).any(|bytes| bytes == b"sesame"));
    let other = vault(1);
    assert_eq!(
        other
            .open(&mut conn, "table.column.1", &sealed)
            .await
            .unwrap()
            .as_slice(),
        b"sesame"
    );
    let moved = other.open(&mut conn, "table.column.2", &sealed).await;
    assert!(matches!(moved, Err(VaultError::Sealed)));
    let mut damaged = sealed.clone();
    damaged.bytes[20] ^= 1;
    assert!(matches!(
        other.open(&mut conn, "table.column.1", &damaged).await,
        Err(VaultError::Sealed)
    ));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn another_master_key_opens_nothing(db: PgPool) {
    let mut conn = db.acquire().await.unwrap();
    vault(1).check(&mut conn).await.unwrap();
    vault(1).check(&mut conn).await.unwrap();
    assert!(matches!(vault(2).check(&mut conn).await, Err(VaultError::Sealed)));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_secret_is_the_same_for_every_node(db: PgPool) {
    let mut conn = db.acquire().await.unwrap();
    let first = vault(1).secret(&mut conn, "tickets").await.unwrap();
    assert_eq!(vault(1).secret(&mut conn, "tickets").await.unwrap(), first);
    assert_ne!(vault(1).secret(&mut conn, "urls").await.unwrap(), first);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_rotation_keeps_the_secrets_and_leaves_one_key(db: PgPool) {
    let mut tx = db.begin().await.unwrap();
    let old = vault(1);
    let (first, second) = (
        old.secret(&mut tx, "a").await.unwrap(),
        old.secret(&mut tx, "b").await.unwrap(),
    );
    let kept = old.rotate(&mut tx).await.unwrap();
    assert_eq!(old.reseal_secrets(&mut tx).await.unwrap(), 2);
    old.retire(&mut tx, kept).await.unwrap();
    old.rewrap(&mut tx, &Zeroizing::new([2; 32])).await.unwrap();
    tx.commit().await.unwrap();

    let mut conn = db.acquire().await.unwrap();
    let new = vault(2);
    assert_eq!(new.secret(&mut conn, "a").await.unwrap(), first);
    assert_eq!(new.secret(&mut conn, "b").await.unwrap(), second);
    assert_eq!(new.seal(&mut conn, "x", b"y").await.unwrap().key, kept);
    assert!(matches!(vault(1).check(&mut conn).await, Err(VaultError::Sealed)));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_rotation_that_forgets_something_is_refused(db: PgPool) {
    let mut tx = db.begin().await.unwrap();
    let vault = vault(1);
    vault.secret(&mut tx, "forgotten").await.unwrap();
    let kept = vault.rotate(&mut tx).await.unwrap();
    assert!(vault.retire(&mut tx, kept).await.is_err());
}
