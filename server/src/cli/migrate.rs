//! `muster-server migrate`: brings the database up to date.

use anyhow::Context as _;
use clap::Args;

use super::output;
use crate::config::{DatabaseFlags, Inputs, read_database_url};
use crate::platform::db;

/// The flags of `migrate`.
#[derive(Debug, Args)]
#[command(
    after_help = "A server of the version before goes on working on the new schema, so migrate first, then start the new \
    servers.\n\nExample:\n  DATABASE_URL=postgres://muster@db/muster muster-server migrate"
)]
pub(super) struct Migrate {
    #[command(flatten)]
    pub(super) database: DatabaseFlags,
}

/// Runs every migration that the database lacks. Several at once wait for each other.
pub(super) async fn run(inputs: Inputs) -> anyhow::Result<()> {
    let url = read_database_url(inputs)?;
    let db = db::connect(url.expose())
        .await
        .context("the database (database_url) does not answer")?;
    let missing = db::missing_migrations(&db).await?;
    db::MIGRATOR
        .run(&db)
        .await
        .context("a migration failed; nothing of it was kept")?;
    match missing {
        0 => output::line("The database is up to date."),
        1 => output::line("Ran 1 migration. The database is up to date."),
        many => output::line(format_args!("Ran {many} migrations. The database is up to date.")),
    }
    db.close().await;
    Ok(())
}
