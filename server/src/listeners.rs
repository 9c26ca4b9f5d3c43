//! The sockets that a server listens on. They are bound before anything else is started, so that a taken port is told at
//! once.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use nix::sys::socket::{Backlog, listen};

use crate::app::Urls;
use crate::config::{BaseUrl, Front};

/// Connections that wait to be accepted: a fleet that comes back at once queues up here.
const BACKLOG: i32 = 4096;

/// The bound sockets.
#[derive(Debug)]
pub struct Listeners {
    /// The dashboard and the REST API.
    pub web: TcpListener,
    /// Devices, over TLS.
    pub devices: TcpListener,
    /// Figures, where they have a listener of their own.
    pub metrics: Option<TcpListener>,
    addrs: Addrs,
}

/// Where a server listens.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Addrs {
    /// The dashboard and the REST API.
    pub web: SocketAddr,
    /// Devices, over TLS.
    pub devices: SocketAddr,
    /// Figures, where they have a listener of their own.
    pub metrics: Option<SocketAddr>,
}

impl Listeners {
    /// Binds every address. Port 0 takes a free one.
    ///
    /// # Errors
    /// When one is taken or not this machine's: the error names it and its flag.
    pub fn bind(front: &Front) -> anyhow::Result<Self> {
        let web = bind(front.web_addr, "--web")?;
        let devices = bind(front.device_addr, "--devices")?;
        let metrics = front
            .metrics_addr
            .map(|addr| bind(addr, "--metrics-addr"))
            .transpose()?;
        let addrs = Addrs {
            web: web.local_addr()?,
            devices: devices.local_addr()?,
            metrics: metrics.as_ref().map(TcpListener::local_addr).transpose()?,
        };
        Ok(Self {
            web,
            devices,
            metrics,
            addrs,
        })
    }

    /// Where they listen.
    pub fn addrs(&self) -> Addrs {
        self.addrs.clone()
    }

    /// The URLs that were given, and in their place the listeners' own addresses.
    pub fn urls(&self, front: &Front) -> Urls {
        let public = front.public_url.clone().unwrap_or_else(|| {
            let addr = self.addrs.web;
            let host = if addr.ip().is_loopback() { None } else { host(addr.ip()) };
            BaseUrl::new("http", host.unwrap_or_else(|| "localhost".to_owned()), addr.port())
        });
        let firmware = front.firmware_url.clone().unwrap_or_else(|| {
            let addr = self.addrs.devices;
            let host = host(addr.ip()).unwrap_or_else(|| public.host().to_owned());
            BaseUrl::new("https", host, addr.port())
        });
        Urls {
            public,
            firmware,
            firmware_lifetime: front.firmware_url_lifetime,
        }
    }
}

/// The address as the host of a URL; `None` for the one that means all of this machine's.
fn host(ip: IpAddr) -> Option<String> {
    match ip {
        _ if ip.is_unspecified() => None,
        IpAddr::V4(ip) => Some(ip.to_string()),
        IpAddr::V6(ip) => Some(format!("[{ip}]")),
    }
}

fn bind(addr: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(addr).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {} is taken on {}. End what listens there, or choose another address with {flag}.",
            addr.port(),
            addr.ip()
        ),
        _ => anyhow::anyhow!("cannot listen on {addr}: {error}. Choose another address with {flag}."),
    })?;
    listener.set_nonblocking(true)?;
    // Listening anew widens the queue, which the standard library makes 128 long.
    listen(&listener.as_fd(), Backlog::new(BACKLOG)?).with_context(|| format!("listening on {addr}"))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::admission::Limits;

    fn front(web: &str, devices: &str) -> Front {
        Front {
            web_addr: web.parse().unwrap(),
            device_addr: devices.parse().unwrap(),
            public_url: None,
            firmware_url: None,
            firmware_url_lifetime: time::Duration::hours(24),
            metrics_addr: None,
            metrics_token: None,
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_taken_port_is_named_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Listeners::bind(&front("127.0.0.1:0", &format!("127.0.0.1:{port}")))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("port {port} is taken")) && error.contains("--devices"),
            "{error}"
        );
    }

    #[test]
    fn urls_that_were_not_given_are_the_listeners_own() {
        let front = front("0.0.0.0:0", "0.0.0.0:0");
        let listeners = Listeners::bind(&front).unwrap();
        let (urls, addrs) = (listeners.urls(&front), listeners.addrs());
        assert_eq!(
            urls.public.to_string(),
            format!("http://localhost:{}", addrs.web.port())
        );
        assert_eq!(
            urls.firmware.to_string(),
            format!("https://localhost:{}", addrs.devices.port())
        );
    }
}
