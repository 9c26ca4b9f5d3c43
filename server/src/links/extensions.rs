//! Which extensions a link's device may use: at its join, and when operators switch them while the link stands.

use std::collections::HashSet;

use muster_link::{Extension, ExtensionSet};
use uuid::Uuid;

use super::registry::{Order, Registry};
use crate::devices::Peer;
use crate::devices::identity::Credential;
use crate::devices::service as devices;
use crate::platform::Platform;
use crate::platform::sweep::Sweep;

/// Devices read in one statement: more than a node has links, usually.
const AT_ONCE: usize = 20_000;

/// What a device may use: what is on for it and its product, and its certificate's renewal, where the org switched it on.
pub(super) fn usable(peer: &Peer, mut on: ExtensionSet) -> ExtensionSet {
    let may_renew = matches!(peer.credential(), Credential::Certificate(pinned) if pinned.may_renew);
    if may_renew {
        on.insert(Extension::Renewal);
    } else {
        on.remove(Extension::Renewal);
    }
    on
}

/// Extensions were switched for these products and devices: tells the links of this node what they may use now. What was
/// told is taken out; while the database fails it stays, to be told later.
///
/// # Errors
/// When the database fails.
pub(super) async fn tell(
    platform: &Platform,
    proof: Sweep,
    registry: &Registry,
    switched: &mut HashSet<Uuid>,
) -> sqlx::Result<()> {
    if switched.is_empty() {
        return Ok(());
    }
    let concerned = registry.concerned(switched);
    for part in concerned.chunks(AT_ONCE) {
        let mut conn = platform.db.acquire().await?;
        let read = devices::extensions(&mut conn, proof, part).await?;
        drop(conn);
        for (device, extensions) in read {
            registry.order(device, Order::Allow(extensions));
        }
    }
    if !concerned.is_empty() {
        tracing::info!(devices = concerned.len(), "extensions were switched");
    }
    switched.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use sqlx::PgPool;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
    use tracing_subscriber::util::SubscriberInitExt as _;

    use super::*;
    use crate::devices::DeviceId;
    use crate::devices::model::LinkId;
    use crate::devices::service::{Change, JoinRecord, Registration};
    use crate::links::registry::Handle;
    use crate::links::session::{Effect, Input, Session, Welcome};
    use crate::platform::events;
    use crate::products::service as products;
    use crate::products::{Changes, Product, Switches};
    use crate::testing::Stage;

    const JOIN: &str = r#"["1","1","device","phx_join",{"device_api_version":"2.3.0"}]"#;
    const OFFER: &str = r#"["3","3","extensions","phx_join",{"health":"0.0.1","geo":"0.0.1"}]"#;

    #[derive(Debug, Clone, Default)]
    struct Told(Arc<Mutex<Vec<(String, ExtensionSet)>>>, String);

    impl Handle for Told {
        fn order(&self, order: Order) -> bool {
            if let Order::Allow(extensions) = order {
                self.0.lock().unwrap().push((self.1.clone(), extensions));
            }
            true
        }
    }

    /// Counts what sqlx says of its statements.
    #[derive(Debug, Clone, Default)]
    struct Statements(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> Layer<S> for Statements {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            if event.metadata().target() == "sqlx::query" {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    struct Node {
        stage: Stage,
        product: Product,
        registry: Registry,
        told: Told,
        switched: HashSet<Uuid>,
        heard: i64,
    }

    impl Node {
        async fn new(db: PgPool) -> Self {
            let stage = Stage::new(db).await;
            let (_, product) = stage.product("acme", "ada@x.io", "kiosk").await;
            Self {
                registry: Registry::new(stage.platform().metrics.clone()),
                told: Told::default(),
                switched: HashSet::new(),
                heard: 0,
                product,
                stage,
            }
        }

        /// A device whose link is open.
        async fn link(&self, product: &Product, identifier: &str) -> (Peer, LinkId) {
            let registration = Registration {
                identifier: identifier.parse().unwrap(),
                description: String::new(),
                tags: Vec::new(),
                updates_enabled: true,
                connecting_code: String::new(),
            };
            let platform = self.stage.platform();
            let device = devices::create(platform, product, registration).await.unwrap();
            let peer = Peer::of_test(device.id, product.org().id(), product.id());
            let link = platform.new_id();
            let handle = Told(Arc::clone(&self.told.0), identifier.to_owned());
            self.registry.enter(&peer, link, Box::new(handle), Arc::default());
            (peer, link)
        }

        async fn switch(&self, product: &Product, names: &[(&str, bool)]) {
            let changes = Changes {
                extensions: switches(names),
                ..Changes::default()
            };
            products::update(self.stage.platform(), product, &changes)
                .await
                .unwrap();
        }

        /// What this node's links are told of the news since it last heard any.
        async fn hear(&mut self) -> Vec<(String, Vec<&'static str>)> {
            let platform = self.stage.platform();
            let mut conn = platform.db.acquire().await.unwrap();
            for event in events::after(&mut conn, self.heard).await.unwrap() {
                self.heard = event.id;
                if event.kind == events::kind::EXTENSIONS {
                    self.switched.insert(event.subject_id);
                }
            }
            let proof = Sweep::of_the_server();
            tell(platform, proof, &self.registry, &mut self.switched).await.unwrap();
            assert!(self.switched.is_empty());
            let mut told = std::mem::take(&mut *self.told.0.lock().unwrap());
            told.sort_by(|one, other| one.0.cmp(&other.0));
            told.into_iter().map(|(who, what)| (who, what.names())).collect()
        }
    }

    fn switches(names: &[(&str, bool)]) -> Switches {
        let mut switches = Switches::default();
        for (name, on) in names {
            switches.set(name, *on).unwrap();
        }
        switches
    }

    fn told(who: &str, what: &[&'static str]) -> (String, Vec<&'static str>) {
        (who.to_owned(), what.to_vec())
    }

    #[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
    async fn links_of_the_product_or_of_the_device_are_told_and_no_others(db: PgPool) {
        let mut node = Node::new(db).await;
        let product = node.product.clone();
        let other = products::create(node.stage.platform(), product.org(), "lamp")
            .await
            .unwrap();
        node.link(&product, "a").await;
        node.link(&product, "b").await;
        node.link(&other, "c").await;
        assert_eq!(node.hear().await, []);
        node.switch(&product, &[("health", true), ("geo", true)]).await;
        assert_eq!(
            node.hear().await,
            [told("a", &["health", "geo"]), told("b", &["health", "geo"])]
        );
        assert_eq!(node.hear().await, []);

        let platform = node.stage.platform().clone();
        let mut conn = platform.db.acquire().await.unwrap();
        let device = devices::find(&mut conn, &product, "b").await.unwrap().unwrap();
        for (on, left) in [(false, &["health"][..]), (true, &["health", "geo"])] {
            let change = Change {
                extensions: switches(&[("geo", on)]),
                ..Change::default()
            };
            for expected in [vec![told("b", left)], Vec::new()] {
                let device = devices::update(&platform, &product, &device, &change).await.unwrap();
                assert_eq!(device.extensions().has(Extension::Geo), on);
                assert_eq!(node.hear().await, expected);
            }
        }
        node.switch(&product, &[("health", false)]).await;
        assert_eq!(node.hear().await, [told("a", &["geo"]), told("b", &["geo"])]);
    }

    /// The join reads before the act is committed, and its answer comes after the act was heard.
    #[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
    async fn a_switch_during_a_join_holds_on_both_sides_of_it(db: PgPool) {
        let mut node = Node::new(db).await;
        let product = node.product.clone();
        let (platform, proof) = (node.stage.platform().clone(), Sweep::of_the_server());
        for (number, is_read_first) in [(1, true), (2, false)] {
            let (peer, link) = node.link(&product, &format!("d-{number}")).await;
            let mut session = Session::default();
            let effects = session.handle(Input::Text(JOIN));
            let [Effect::Join(join)] = &effects[..] else {
                panic!("{effects:?}")
            };
            let record = JoinRecord {
                peer: peer.clone(),
                link,
                address: String::new(),
                join: join.as_ref().clone(),
            };
            let read = async || {
                let mut conn = platform.db.acquire().await.unwrap();
                let joined = devices::join(&mut conn, &platform, proof, std::slice::from_ref(&record));
                joined.await.unwrap()[0].extensions
            };
            let (mut extensions, on) = (ExtensionSet::default(), number == 1);
            if is_read_first {
                extensions = read().await;
            }
            node.switch(&product, &[("health", on)]).await;
            let told = node.hear().await;
            assert!(told.iter().any(|(who, _)| *who == format!("d-{number}")), "{told:?}");
            let heard = told
                .last()
                .unwrap()
                .1
                .iter()
                .filter_map(|name| Extension::named(name))
                .collect();
            assert_eq!(session.handle(Input::Allow(usable(&peer, heard))), []);
            if !is_read_first {
                extensions = read().await;
            }
            let welcome = Welcome {
                extensions: usable(&peer, extensions),
                ..Welcome::default()
            };
            session.handle(Input::Joined(Box::new(welcome)));
            let reply = format!("{:?}", session.handle(Input::Text(OFFER)));
            assert_eq!(reply.contains("health"), on, "{reply}");
        }
    }

    #[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
    async fn fifteen_thousand_links_are_told_by_one_statement(db: PgPool) {
        let mut node = Node::new(db.clone()).await;
        let product = node.product.clone();
        sqlx::query(
            "INSERT INTO devices (id, org_id, product_id, identifier, created_at, updated_at)
             SELECT gen_random_uuid(), $1, $2, 'd-' || n, now(), now() FROM generate_series(1, 15000) n",
        )
        .bind(product.org().id().0)
        .bind(product.id().0)
        .execute(&db)
        .await
        .unwrap();
        let ids: Vec<DeviceId> = sqlx::query_scalar("SELECT id FROM devices")
            .fetch_all(&db)
            .await
            .unwrap();
        for device in ids {
            let peer = Peer::of_test(device, product.org().id(), product.id());
            let (link, handle) = (node.stage.platform().new_id(), Box::new(node.told.clone()));
            node.registry.enter(&peer, link, handle, Arc::default());
        }
        sqlx::query("UPDATE products SET extensions = '{health}'")
            .execute(&db)
            .await
            .unwrap();
        node.switched.insert(product.id().0);
        let statements = Statements::default();
        let counting = tracing_subscriber::registry().with(statements.clone()).set_default();
        tell(
            node.stage.platform(),
            Sweep::of_the_server(),
            &node.registry,
            &mut node.switched,
        )
        .await
        .unwrap();
        drop(counting);
        assert_eq!(statements.0.load(Ordering::Relaxed), 1);
        let told = node.hear().await;
        assert_eq!(told.len(), 15000);
        assert!(told.iter().all(|(_, what)| *what == ["health"]));
    }
}
