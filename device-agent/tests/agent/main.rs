//! The real binary against a server over TLS and a file server, on an image made by the firmware crate.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test harness fails by panicking"
)]

mod beside;
mod certs;
mod device;
mod download;
mod files;
mod firmware;
mod hooks;
mod hub;
mod identity;
mod library;
mod link;
mod renewal;
mod update;

use muster_agent::platform::slot::Behaviour;
use muster_fwup::PrivateKey;

use crate::certs::Certs;
use crate::device::{Device, Options};
use crate::files::{Files, Mishaps};
use crate::firmware::Firmware;
use crate::hub::{Hub, Rules};

/// A device on 1.0.0 and its server.
struct World {
    certs: Certs,
    hub: Hub,
    key: PrivateKey,
    old: Firmware,
    device: Device,
}

impl World {
    async fn new(options: Options) -> Self {
        Self::by(Rules::default(), options).await
    }

    /// A world whose server goes by these rules.
    async fn by(rules: Rules, options: Options) -> Self {
        muster_agent::identity::install_provider();
        let certs = Certs::new();
        let hub = Hub::start_by(&certs, rules).await;
        let key = PrivateKey::generate().unwrap();
        let old = Firmware::new(&key, "1.0.0", Behaviour::Ok);
        let device = Device::new(&certs, &hub.url, &old, &key, &options);
        Self {
            certs,
            hub,
            key,
            old,
            device,
        }
    }

    fn next(&self, behaviour: Behaviour) -> Firmware {
        Firmware::new(&self.key, "1.1.0", behaviour)
    }

    async fn files(&self, firmware: &Firmware, mishaps: Mishaps) -> Files {
        Files::start(&self.certs, firmware.bytes.clone(), mishaps).await
    }
}
