//! `muster-server ca`: CAs whose keys the server holds, under the vault.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sqlx::PgConnection;
use time::Duration;

use super::offline::Offline;
use super::output;
use crate::accounts::{self, OrgId};
use crate::ca::service;
use crate::config::Inputs;
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, files};

/// The commands of `ca`.
#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Make a CA for an org; devices with certificates of it may connect
    Init(Init),
    /// Make a device's certificate and key, signed by the org's newest such CA
    Issue(Issue),
}

/// The flags of `ca init`.
#[derive(Debug, Args)]
#[command(
    after_help = "The key stays in the database, sealed; `ca issue` signs with it. A CA of your own, whose key the server never sees,\n\
    is registered in the dashboard or over REST.\n\nExample:\n  \
    muster-server ca init --data-dir ./data --org default --name \"Kiosk CA\" --out kiosks-ca.pem"
)]
pub(super) struct Init {
    /// The org
    #[arg(long)]
    org: String,
    /// The CA's name
    #[arg(long, default_value = "Muster CA")]
    name: String,
    /// Where to write its certificate, in PEM
    #[arg(long, value_name = "FILE", default_value = "ca.pem")]
    out: PathBuf,
    #[command(flatten)]
    offline: Offline,
}

/// The flags of `ca issue`.
#[derive(Debug, Args)]
#[command(
    after_help = "Writes IDENTIFIER.pem and IDENTIFIER.key; existing files are not overwritten.\n\nExample:\n  \
    muster-server ca issue --data-dir ./data --org default --identifier kiosk-0001 --out ./devices"
)]
pub(super) struct Issue {
    /// The org
    #[arg(long)]
    org: String,
    /// The device's identifier, which becomes the certificate's common name
    #[arg(long)]
    identifier: String,
    /// For how many days
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(i64).range(1..=36500))]
    days: i64,
    /// Where to write certificate and key
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    #[command(flatten)]
    offline: Offline,
}

impl Ca {
    pub(super) fn offline(&self) -> &Offline {
        match self {
            Self::Init(command) => &command.offline,
            Self::Issue(command) => &command.offline,
        }
    }

    pub(super) async fn run(self, inputs: Inputs) -> anyhow::Result<()> {
        let platform = self.offline().open(inputs).await?;
        match self {
            Self::Init(command) => command.run(&platform).await,
            Self::Issue(command) => command.run(&platform).await,
        }
    }
}

impl Init {
    async fn run(self, platform: &Platform) -> anyhow::Result<()> {
        refuse_to_overwrite(&self.out)?;
        let mut tx = platform.db.begin().await?;
        let org = org(&mut tx, &self.org).await?;
        let authority = service::create_own(&mut tx, platform, Sweep::of_the_server(), org, &self.name).await?;
        // Written before it counts: a CA whose certificate nobody has is of no use.
        write(&self.out, authority.certificate_pem(), files::write_public)?;
        tx.commit().await?;
        output::line(format_args!(
            "Made the CA {} for {}: {}",
            self.name,
            self.org,
            self.out.display()
        ));
        Ok(())
    }
}

impl Issue {
    async fn run(self, platform: &Platform) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.identifier.contains('/') && !self.identifier.starts_with('.'),
            "--identifier {} cannot be the name of a file",
            self.identifier
        );
        let mut tx = platform.db.begin().await?;
        let org = org(&mut tx, &self.org).await?;
        let authority = service::open_own(&mut tx, platform, Sweep::of_the_server(), org)
            .await?
            .with_context(|| {
                format!(
                    "{} has no CA whose key the server holds; make one with `muster-server ca init`",
                    self.org
                )
            })?;
        tx.commit().await?;
        let now = platform.clock.now();
        let issued = authority.issue_device(
            &self.identifier,
            platform.random.bytes(),
            now,
            Duration::days(self.days),
        )?;
        let certificate = self.out.join(format!("{}.pem", self.identifier));
        let key = self.out.join(format!("{}.key", self.identifier));
        for path in [&certificate, &key] {
            refuse_to_overwrite(path)?;
        }
        std::fs::create_dir_all(&self.out).with_context(|| format!("--out {}", self.out.display()))?;
        write(&key, &issued.key_pem, files::write_private)?;
        write(&certificate, &issued.certificate_pem, files::write_public)?;
        output::line(format_args!("Wrote {} and {}.", certificate.display(), key.display()));
        Ok(())
    }
}

async fn org(conn: &mut PgConnection, name: &str) -> anyhow::Result<OrgId> {
    accounts::service::find_org(conn, Sweep::of_the_server(), name)
        .await?
        .with_context(|| format!("--org {name}: there is no org of this name"))
}

fn refuse_to_overwrite(path: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        !path.exists(),
        "{} is there already; choose another --out",
        path.display()
    );
    Ok(())
}

fn write(path: &Path, text: &str, how: fn(&Path, &[u8]) -> std::io::Result<()>) -> anyhow::Result<()> {
    how(path, text.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
}
