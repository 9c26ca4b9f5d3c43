//! The agent as a library: a product brings its own signer, policy and hooks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use muster_agent::config::Settings;
use muster_agent::event_loop;
use muster_agent::hooks::{Custom, Doing, Hooks, RebootReason};
use muster_agent::identity::signer::{FileSigner, SignError, Signer};
use muster_agent::platform::slot::Behaviour;
use muster_agent::policy::{Context, Deciding, Decision, Policy};
use muster_agent::update::Offer;
use muster_link::{Archive, StatusUpdate, ToDevice};
use rustls::SignatureScheme;
use tokio::sync::mpsc;

use crate::World;
use crate::device::Options;

/// A key that the configuration knows nothing of.
#[derive(Debug)]
struct Element {
    key: FileSigner,
    signed: AtomicUsize,
}

impl Signer for Element {
    fn schemes(&self) -> &[SignatureScheme] {
        self.key.schemes()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        self.key.sign(scheme, message)
    }
}

/// Tells what it is called for.
struct Product(mpsc::UnboundedSender<String>);

impl Product {
    fn called(&self, text: String) -> Doing<'_> {
        self.0.send(text).unwrap();
        Box::pin(async { Ok(()) })
    }
}

impl Hooks for Product {
    fn identify(&self) -> Doing<'_> {
        self.called("identify".to_owned())
    }

    fn before_reboot(&self, reason: RebootReason) -> Doing<'_> {
        self.called(format!("before_reboot {}", reason.name()))
    }

    fn archive<'a>(&'a self, archive: &'a Archive, _file: &'a Path) -> Doing<'a> {
        self.called(format!("archive {}", archive.uuid))
    }
}

impl Policy for Product {
    fn decide<'a>(&'a self, offer: &'a Offer, _context: &'a Context) -> Deciding<'a> {
        let reason = format!("not {}", offer.version);
        Box::pin(async { Decision::Ignore { reason } })
    }
}

#[tokio::test]
async fn product_brings_its_own_key_policy_and_hooks() {
    for tls in ["1.2", "1.3"] {
        let mut world = World::new(Options {
            tls: Some(tls),
            proof: Some("cert = \"device.pem\""),
            ..Options::default()
        })
        .await;
        let element = Arc::new(Element {
            key: FileSigner::read(&world.device.path("device.key")).unwrap(),
            signed: AtomicUsize::new(0),
        });
        let (sender, mut called) = mpsc::unbounded_channel();
        let product = Arc::new(Product(sender));
        let custom = Custom {
            policy: Arc::clone(&product) as Arc<dyn Policy>,
            hooks: product,
            signer: Some(Arc::clone(&element) as Arc<dyn Signer>),
        };
        let settings = Settings::read(&world.device.path("agent.toml")).unwrap();
        let new = world.next(Behaviour::Ok);
        let conversation = async {
            world.hub.join().await;
            world.hub.push(&ToDevice::Identify);
            assert_eq!(called.recv().await.unwrap(), "identify");
            world.hub.push(&new.update("https://127.0.0.1:1/never-asked"));
            assert_eq!(world.hub.status().await, StatusUpdate::Received);
            let reason = "not 1.1.0".to_owned();
            assert_eq!(world.hub.status().await, StatusUpdate::Ignored { reason });
        };
        tokio::select! {
            ended = event_loop::run(settings, custom) => panic!("{ended:?}"),
            () = conversation => {}
        }
        assert_eq!(element.signed.load(Ordering::SeqCst), 1, "{tls}");
    }
}
