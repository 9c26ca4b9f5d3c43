//! TLS sessions of the devices: one each, kept in memory, and not used while that is forbidden.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls_pki_types::ServerName;

/// Whether the devices of this process may resume. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    forbidden: Arc<AtomicBool>,
}

impl Sessions {
    /// Whether sessions are used from now on.
    pub fn allow(&self, allowed: bool) {
        self.forbidden.store(!allowed, Ordering::Relaxed);
    }

    /// The session of one device.
    pub fn of_a_device(&self) -> Resumption {
        Resumption::store(Arc::new(Store {
            // The cache keeps a second name for the one that it looks up.
            cache: ClientSessionMemoryCache::new(2),
            forbidden: Arc::clone(&self.forbidden),
        }))
    }
}

#[derive(Debug)]
struct Store {
    cache: ClientSessionMemoryCache,
    forbidden: Arc<AtomicBool>,
}

impl Store {
    fn may(&self) -> bool {
        !self.forbidden.load(Ordering::Relaxed)
    }
}

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.cache.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.cache.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.cache.set_tls12_session(server, value);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.may().then(|| self.cache.tls12_session(server))?
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.cache.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.cache.insert_tls13_ticket(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.may().then(|| self.cache.take_tls13_ticket(server))?
    }
}
