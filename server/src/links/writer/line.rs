//! The line: what is written in order. Of one device the order counts, and of devices among each other it does not, so
//! that joins stand together and ends stand together, whatever came between.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use tokio::sync::oneshot;

use super::desk::{Desk, Said};
use crate::deployments::service as deployments;
use crate::devices::service::{self as devices, JoinRecord, Joined, LinkEnd};
use crate::devices::{DeviceId, Peer};
use crate::keys::service as keys;
use crate::links::extensions::usable;
use crate::links::session::Welcome;
use crate::links::wire::Waiting;
use crate::links::writer::{archive_message, update_message};
use crate::platform::db::is_transient;
use crate::products::ProductId;

/// What stands in the line.
#[derive(Debug)]
pub(super) enum Standing {
    /// A join that waits for its answer.
    Join(Box<JoinRecord>, oneshot::Sender<Welcome>, Waiting),
    /// The end of a link.
    End(Box<LinkEnd>),
    /// A report.
    Report(Said, Waiting),
}

/// The line itself, first come first.
#[derive(Debug, Default)]
pub(super) struct Line(VecDeque<Standing>);

type Join = (JoinRecord, oneshot::Sender<Welcome>, Waiting);

/// What is written in one go, in this order.
#[derive(Debug, Default)]
struct Batch {
    ends: Vec<LinkEnd>,
    joins: Vec<Join>,
    /// Ends of links whose join is in the same batch.
    ends_after: Vec<LinkEnd>,
    report: Option<(Said, Waiting)>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, standing: Standing) {
        self.0.push_back(standing);
    }

    /// The first `most`, up to a report, which is the last of its batch.
    fn batch(&mut self, most: usize) -> Batch {
        let mut batch = Batch::default();
        let mut joined = HashSet::new();
        for _ in 0..most {
            match self.0.pop_front() {
                Some(Standing::Join(record, answer, place)) => {
                    joined.insert(record.link);
                    batch.joins.push((*record, answer, place));
                }
                Some(Standing::End(end)) if joined.contains(&end.link) => batch.ends_after.push(*end),
                Some(Standing::End(end)) => batch.ends.push(*end),
                Some(Standing::Report(said, place)) => {
                    batch.report = Some((said, place));
                    return batch;
                }
                None => return batch,
            }
        }
        batch
    }

    /// Puts back what could not be written, before everything that came since.
    fn put_back(&mut self, batch: Batch) {
        let ends = |ends: Vec<LinkEnd>| ends.into_iter().map(|end| Standing::End(Box::new(end)));
        let joins = batch.joins.into_iter();
        let mut standing: Vec<Standing> = ends(batch.ends).collect();
        standing.extend(joins.map(|(record, answer, place)| Standing::Join(Box::new(record), answer, place)));
        standing.extend(ends(batch.ends_after));
        standing.extend(batch.report.map(|(said, place)| Standing::Report(said, place)));
        for one in standing.into_iter().rev() {
            self.0.push_front(one);
        }
    }
}

impl Desk {
    /// Writes the first of the line; how many.
    ///
    /// # Errors
    /// When the database is away: then they stand in the line as before. What the database refuses is left out.
    pub(super) async fn write_line(&mut self, most: usize) -> sqlx::Result<usize> {
        let mut batch = self.line.batch(most);
        let count = batch.ends.len() + batch.joins.len() + batch.ends_after.len() + usize::from(batch.report.is_some());
        let written = self.write(&mut batch).await;
        self.platform.events.ring();
        if written.is_err() {
            self.line.put_back(batch);
        }
        written.map(|()| count)
    }

    /// Writes a batch; what is written is taken out of it.
    async fn write(&self, batch: &mut Batch) -> sqlx::Result<()> {
        self.end_links(&mut batch.ends).await?;
        self.join(&mut batch.joins).await?;
        self.end_links(&mut batch.ends_after).await?;
        if let Some((said, _)) = &batch.report {
            self.report_one(said).await?;
        }
        batch.report = None;
        Ok(())
    }

    /// The database takes all, or is away, or refuses one of them: which one is found by halves.
    async fn join(&self, joins: &mut Vec<Join>) -> sqlx::Result<()> {
        let mut size = joins.len();
        while !joins.is_empty() {
            let part = &joins[..size.min(joins.len())];
            match self.write_joins(part).await {
                Ok(mut welcomes) => {
                    let written: Vec<Join> = joins.drain(..size.min(joins.len())).collect();
                    let products: BTreeSet<ProductId> =
                        written.iter().map(|(record, ..)| record.peer.product()).collect();
                    // Of two joins of a device the later one is its link.
                    for (record, answer, _) in written.into_iter().rev() {
                        // Who is not let in any more is not there, and its answer is dropped.
                        if let Some(welcome) = welcomes.get_mut(&record.peer.device()) {
                            let _ = answer.send(std::mem::take(welcome));
                        }
                    }
                    self.wake(products);
                }
                Err(error) if is_transient(&error) => return Err(error),
                Err(error) if size <= 1 => {
                    // A dropped answer is a refused join; the device joins again.
                    let device = joins.remove(0).0.peer.device();
                    tracing::warn!(%error, device.id = %device, "a join could not be written");
                    size = joins.len();
                }
                Err(_) => size = size.min(joins.len()) / 2,
            }
        }
        Ok(())
    }

    async fn write_joins(&self, joins: &[Join]) -> sqlx::Result<HashMap<DeviceId, Welcome>> {
        let records: Vec<JoinRecord> = joins.iter().map(|(record, ..)| record.clone()).collect();
        let mut tx = self.platform.db.begin().await?;
        let joined = devices::join(&mut tx, &self.platform, self.proof, &records).await?;
        let mut effects = deployments::arrive(&mut tx, &self.platform, self.proof, &records, &joined).await?;
        let wants = |record: &&JoinRecord| record.join.wants_firmware_keys() || record.join.wants_archive_keys();
        let orgs: BTreeSet<_> = records.iter().filter(wants).map(|record| record.peer.org()).collect();
        let orgs: Vec<_> = orgs.into_iter().collect();
        let keys = if orgs.is_empty() {
            HashMap::new()
        } else {
            keys::of_orgs(&mut tx, self.proof, &orgs).await?
        };
        tx.commit().await?;
        let now = self.platform.clock.now();
        let mut there: HashMap<DeviceId, Joined> = joined.into_iter().map(|joined| (joined.device, joined)).collect();
        let mut welcomes = HashMap::with_capacity(records.len());
        for peer in records.iter().map(|record| &record.peer) {
            let device = peer.device();
            let Some(joined) = there.remove(&device) else { continue };
            let (update, archive) = match effects.remove(&device) {
                Some(deployments::Effect::Tell(told)) => (Some(update_message(&self.urls, &told, now)), joined.archive),
                Some(deployments::Effect::LeaveAlone) => (None, None),
                None => (None, joined.archive),
            };
            let welcome = Welcome {
                keys: keys.get(&peer.org()).cloned().unwrap_or_default(),
                archive: archive.map(|sent| archive_message(&self.urls, device, peer.org(), &sent, now)),
                extensions: usable(peer, joined.extensions),
                update,
                connecting_code: joined.connecting_code,
            };
            welcomes.insert(device, welcome);
        }
        Ok(welcomes)
    }

    async fn end_links(&self, ends: &mut Vec<LinkEnd>) -> sqlx::Result<()> {
        if ends.is_empty() {
            return Ok(());
        }
        let written = async {
            let mut tx = self.platform.db.begin().await?;
            let gone = devices::disconnect(&mut tx, &self.platform, self.proof, ends).await?;
            deployments::disconnected(&mut tx, &self.platform, self.proof, &gone).await?;
            tx.commit().await
        };
        match written.await {
            Err(error) if is_transient(&error) => return Err(error),
            Err(error) => tracing::error!(%error, links = ends.len(), "ends of links could not be written"),
            Ok(()) => {}
        }
        let products: BTreeSet<ProductId> = ends.iter().map(|end| end.product).collect();
        self.wake(products);
        ends.clear();
        Ok(())
    }

    fn wake(&self, products: BTreeSet<ProductId>) {
        for product in products {
            self.scheduler.wake(product);
        }
    }

    async fn report_one(&self, said: &Said) -> sqlx::Result<()> {
        let (peer, written) = match said {
            Said::Ended(peer, outcome) => {
                let written = deployments::report_end(&self.platform, self.proof, peer, outcome).await;
                (peer, written)
            }
            Said::Validated(peer) => (peer, self.validated(peer).await),
        };
        self.scheduler.wake(peer.product());
        match written {
            Err(error) if is_transient(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%error, device.id = %peer.device(), "a report could not be written");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn validated(&self, peer: &Peer) -> sqlx::Result<()> {
        let mut conn = self.platform.db.acquire().await?;
        devices::validated(&mut conn, &self.platform, peer).await
    }
}
