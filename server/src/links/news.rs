//! News that concern links: who was assigned an update is told, whose credential is gone is cut, and whose extensions were
//! switched is told which are left.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use muster_link::ToDevice;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::archives::Due;
use super::extensions;
use super::registry::{Order, Registry};
use super::session::Closing;
use super::writer::{Entry, Writer, update_message};
use crate::deployments::service as deployments;
use crate::devices::DeviceId;
use crate::devices::command::{Command, Reach};
use crate::devices::model::LinkId;
use crate::packages::PackageUrls;
use crate::platform::Platform;
use crate::platform::events::{self, Event, kind};
use crate::platform::sweep::Sweep;

/// Devices told in one statement.
const BATCH: usize = 256;
/// Statements at once: while devices of one are told, the database works on the next.
const AT_ONCE: usize = 2;
/// Devices that are gathered before they are told.
const GATHER_MAX: usize = 4096;
/// How long is waited after the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// Hears news until told to stop.
pub(super) async fn run(
    platform: Platform,
    proof: Sweep,
    registry: Arc<Registry>,
    urls: PackageUrls,
    writer: Writer,
    stop: CancellationToken,
) {
    let mut ear = Ear {
        news: platform.events.subscribe(),
        last: 0,
        has_missed: false,
        archives: Due::default(),
        switched: HashSet::new(),
        passed_on: BTreeSet::new(),
    };
    loop {
        let heard = tokio::select! {
            () = stop.cancelled() => return,
            heard = ear.listen(&platform, &registry) => heard,
            // What could not be told is told again, whether or not there is news.
            () = tokio::time::sleep(RETRY), if !ear.is_done() => Ok(Vec::new()),
        };
        let told = match heard {
            Ok(assigned) if assigned.is_empty() => Ok(()),
            Ok(assigned) => tell_all(&platform, proof, &registry, &urls, &writer, &assigned).await,
            Err(error) => Err(error),
        };
        let switched = extensions::tell(&platform, proof, &registry, &mut ear.switched).await;
        let archives = ear.archives.tell(&platform, proof, &registry, &urls).await;
        if let Err(error) = told.and(switched).and(archives) {
            tracing::warn!(%error, "devices could not be told; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Hears news; what came faster than it was handled is read again from the rows.
#[derive(Debug)]
struct Ear {
    news: broadcast::Receiver<Event>,
    last: i64,
    has_missed: bool,
    /// Who may be due an archive and was not asked for yet.
    archives: Due,
    /// Products and devices whose extensions were switched and whose links were not told yet.
    switched: HashSet<Uuid>,
    /// Commands that were passed on, as far as their rows may be read again: who reboots should do so once.
    passed_on: BTreeSet<i64>,
}

/// What was heard in one go.
#[derive(Debug, Default)]
struct Heard {
    /// Devices here that were assigned an update.
    assigned: BTreeSet<DeviceId>,
    /// Links that gave way to newer ones on other nodes.
    replaced: HashSet<LinkId>,
    /// Secrets and products that let nobody in any more.
    gone: HashSet<Uuid>,
    /// What operators ask, of whom.
    asked: Vec<(Command, Reach, Uuid)>,
}

impl Ear {
    /// Whether all that was heard was told.
    fn is_done(&self) -> bool {
        self.switched.is_empty() && self.archives.is_empty()
    }

    /// Waits for news and handles what has come; gives the devices here that were assigned an update.
    async fn listen(&mut self, platform: &Platform, registry: &Registry) -> sqlx::Result<Vec<DeviceId>> {
        let heard = self.gather(platform, registry).await?;
        registry.close_links(&heard.replaced, Closing::Replaced);
        registry.close_resting_on(&heard.gone, Closing::Cut);
        for (command, reach, subject) in heard.asked {
            ask(registry, command, reach, subject);
        }
        Ok(heard.assigned.into_iter().collect())
    }

    async fn gather(&mut self, platform: &Platform, registry: &Registry) -> sqlx::Result<Heard> {
        let mut heard = Heard::default();
        if self.has_missed {
            let missed = events::after(&mut *platform.db.acquire().await?, self.last).await?;
            self.has_missed = missed.len() == events::BATCH as usize;
            for event in missed {
                self.hear(&event, registry, &mut heard);
            }
            return Ok(heard);
        }
        let mut next = self.news.recv().await.map_err(|error| match error {
            RecvError::Lagged(count) => TryRecvError::Lagged(count),
            RecvError::Closed => TryRecvError::Closed,
        });
        loop {
            match next {
                Ok(event) => self.hear(&event, registry, &mut heard),
                Err(TryRecvError::Lagged(count)) => {
                    tracing::info!(count, "news came faster than links could be told; reading them again");
                    // Ids are committed out of order: what is heard twice does no harm.
                    self.last -= events::BATCH;
                    self.has_missed = true;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
            if self.has_missed || heard.assigned.len() >= GATHER_MAX {
                break;
            }
            next = self.news.try_recv();
        }
        Ok(heard)
    }

    fn hear(&mut self, event: &Event, registry: &Registry, heard: &mut Heard) {
        self.last = self.last.max(event.id);
        self.archives.hear(event, registry);
        let device = DeviceId(event.subject_id);
        match event.kind.as_str() {
            kind::ASSIGNED if registry.has(device) => drop(heard.assigned.insert(device)),
            kind::REPLACED => drop(heard.replaced.insert(LinkId(event.subject_id))),
            kind::SECRET_OFF | kind::PRODUCT_GONE => drop(heard.gone.insert(event.subject_id)),
            kind::EXTENSIONS => drop(self.switched.insert(event.subject_id)),
            kind::CUT => registry.close(device, Closing::Cut),
            kind => {
                if let Some((command, reach)) = Command::of_news(kind)
                    && self.passed_on.insert(event.id)
                {
                    heard.asked.push((command, reach, event.subject_id));
                    self.passed_on = self.passed_on.split_off(&(self.last - 2 * events::BATCH));
                }
            }
        }
    }
}

fn ask(registry: &Registry, command: Command, reach: Reach, subject: Uuid) {
    let order = match command {
        Command::Identify => Order::Tell(Box::new(ToDevice::Identify.into())),
        Command::Reboot => Order::Tell(Box::new(ToDevice::Reboot.into())),
        Command::Reconnect => Order::Close(Closing::Asked),
    };
    match reach {
        Reach::Device => drop(registry.order(DeviceId(subject), order)),
        Reach::Product => registry.order_all_of(subject, &order),
    }
}

async fn tell_all(
    platform: &Platform,
    proof: Sweep,
    registry: &Registry,
    urls: &PackageUrls,
    writer: &Writer,
    devices: &[DeviceId],
) -> sqlx::Result<()> {
    // Made before they are polled: a closure that is kept over an await is not Send for every lifetime.
    let tells: Vec<_> = devices
        .chunks(BATCH)
        .map(|devices| tell(platform, proof, registry, urls, writer, devices))
        .collect();
    stream::iter(tells).buffer_unordered(AT_ONCE).try_collect().await
}

async fn tell(
    platform: &Platform,
    proof: Sweep,
    registry: &Registry,
    urls: &PackageUrls,
    writer: &Writer,
    devices: &[DeviceId],
) -> sqlx::Result<()> {
    let mut tx = platform.db.begin().await?;
    let told = deployments::take(&mut tx, platform, proof, devices).await?;
    tx.commit().await?;
    let (now, count) = (platform.clock.now(), told.len());
    // before they can answer; when there is no room, what they answer says as much
    writer.write(Entry::Told(told.iter().map(|told| told.device).collect()));
    for told in told {
        let is_told = registry.tell(told.device, update_message(urls, &told, now).into());
        tracing::debug!(device.id = %told.device, firmware.version = told.version, is_told, "device told of an update");
    }
    if count > 0 {
        tracing::info!(devices = count, "devices told of updates");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use sqlx::PgPool;

    use super::*;
    use crate::accounts::OrgId;
    use crate::devices::Peer;
    use crate::links::registry::Handle;
    use crate::platform::events::News;
    use crate::products::ProductId;
    use crate::testing::Stage;

    #[derive(Debug, Clone, Default)]
    struct Orders(Arc<Mutex<Vec<String>>>);

    impl Handle for Orders {
        fn order(&self, order: Order) -> bool {
            self.0.lock().unwrap().push(format!("{order:?}"));
            true
        }
    }

    #[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
    async fn what_came_too_fast_is_heard_all_the_same(db: PgPool) {
        let stage = Stage::new(db).await;
        let platform = &stage.app.platform;
        let peer = |device| Peer::of_test(device, OrgId(Uuid::nil()), ProductId(Uuid::nil()));
        let registry = Registry::new(platform.metrics.clone());
        let (cut, assigned) = (DeviceId(Uuid::from_u128(1)), DeviceId(Uuid::from_u128(2)));
        let orders = Orders::default();
        registry.enter(
            &peer(cut),
            LinkId(Uuid::from_u128(3)),
            Box::new(orders.clone()),
            Arc::default(),
        );
        registry.enter(
            &peer(assigned),
            LinkId(Uuid::from_u128(4)),
            Box::new(Orders::default()),
            Arc::default(),
        );
        let news = |kind, device: DeviceId| News {
            kind,
            org_id: Uuid::nil(),
            product_id: None,
            subject_id: device.0,
        };
        let rows = [
            news(kind::CUT, cut),
            news(kind::ASSIGNED, assigned),
            news(kind::REBOOT, cut),
        ];
        let mut conn = platform.db.acquire().await.unwrap();
        events::publish(&mut conn, platform.clock.now(), &rows).await.unwrap();

        let (sender, receiver) = broadcast::channel(2);
        for id in 1..=5 {
            let other = Event {
                id,
                org_id: Uuid::nil(),
                product_id: None,
                kind: kind::DEVICE.to_owned(),
                subject_id: Uuid::nil(),
            };
            sender.send(other).unwrap();
        }
        let mut ear = Ear {
            news: receiver,
            last: 0,
            has_missed: false,
            archives: Due::default(),
            switched: HashSet::new(),
            passed_on: BTreeSet::new(),
        };
        assert_eq!(ear.listen(platform, &registry).await.unwrap(), []);
        assert_eq!(ear.listen(platform, &registry).await.unwrap(), [assigned]);
        let reboot = "Tell(Device(Reboot))";
        assert_eq!(*orders.0.lock().unwrap(), ["Close(Cut)", reboot]);
        assert!(!ear.has_missed);

        // Who is cut twice is cut; who reboots twice was not asked to.
        (ear.last, ear.has_missed) = (0, true);
        ear.listen(platform, &registry).await.unwrap();
        assert_eq!(*orders.0.lock().unwrap(), ["Close(Cut)", reboot, "Close(Cut)"]);
    }
}
