//! Keys of devices in overlay networks (device-link §3.5): a report adds, a key is one device's.

use std::collections::HashMap;

use muster_link::IdentityService;
use sqlx::PgConnection;

use crate::accounts::Org;
use crate::devices::model::DeviceId;
use crate::devices::reported::{NetworkIdentity, ReportedIdentity};
use crate::devices::store::identities::{self, sweep};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, db};

/// Keys of one device that are kept; a report says at most ten.
pub const IDENTITIES_KEPT: i64 = 40;
/// How often a batch is written that another node's crossed.
const TRIES: usize = 3;

/// The device's keys, of one network or all.
///
/// # Errors
/// When the database fails.
pub async fn network_identities(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
    service: Option<IdentityService>,
    instance: Option<&str>,
) -> sqlx::Result<Vec<NetworkIdentity>> {
    identities::list(conn, org, device, service, instance).await
}

/// Writes the keys that devices report, in one transaction. A key that another device reported before stays that one's; what is not kept is
/// logged and counted.
///
/// # Errors
/// When the database fails.
pub async fn report_identities(platform: &Platform, proof: Sweep, reported: Vec<ReportedIdentity>) -> sqlx::Result<()> {
    let (reported, claimed) = once_each(reported);
    for refused in write(platform, proof, &reported).await? {
        let why = if refused.is_taken { "taken" } else { "too many" };
        tell(platform, refused.device, &refused.service, why);
    }
    for (device, service) in claimed {
        tell(platform, device, service.name(), "taken");
    }
    Ok(())
}

fn tell(platform: &Platform, device: DeviceId, service: &str, why: &'static str) {
    platform.metrics.identities_refused.inc();
    tracing::info!(device.id = %device, service, why, "a network identity was not kept");
}

/// Two nodes may write the same key at once: then one of them finds it taken at its second try.
async fn write(platform: &Platform, proof: Sweep, reported: &[ReportedIdentity]) -> sqlx::Result<Vec<sweep::Refused>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let written = async {
            let mut tx = platform.db.begin().await?;
            sweep::delete_renamed(&mut tx, proof, reported).await?;
            let refused = sweep::upsert(&mut tx, proof, reported, IDENTITIES_KEPT).await?;
            tx.commit().await?;
            Ok(refused)
        };
        match written.await {
            Err(error) if tries < TRIES && db::violated(&error) == Some("network_identities_identifier_key") => {}
            written => return written,
        }
    }
}

/// Each key once: of two devices' the first one's, of one device's the last. And who came too late.
fn once_each(reported: Vec<ReportedIdentity>) -> (Vec<ReportedIdentity>, Vec<(DeviceId, IdentityService)>) {
    let mut places: HashMap<(IdentityService, String), usize> = HashMap::new();
    let (mut once, mut late): (Vec<ReportedIdentity>, Vec<_>) = (Vec::new(), Vec::new());
    for one in reported {
        let key = (one.identity.service, one.identity.identifier.clone());
        match places.get(&key) {
            Some(place) if once[*place].device == one.device => once[*place] = one,
            Some(_) => late.push((one.device, one.identity.service)),
            None => {
                places.insert(key, once.len());
                once.push(one);
            }
        }
    }
    (once, late)
}
