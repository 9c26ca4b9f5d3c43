//! Telling systemd how the agent is: `READY=1`, `STATUS=…`, `WATCHDOG=1`, each a datagram to the socket that the
//! environment names (sd_notify(3)). Without that socket nothing is told.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Variables that the service manager sets; programs that the agent runs must not see them.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The line to the service manager.
#[derive(Debug, Default)]
pub struct Notify {
    line: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    status: String,
}

impl Notify {
    /// The line that this process's environment names, if any.
    pub fn from_env() -> Self {
        let variable = |name: &str| std::env::var_os(name);
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let usec = text("WATCHDOG_USEC").filter(|_| ours);
        Self::new(variable("NOTIFY_SOCKET").as_deref(), usec.as_deref())
    }

    /// The line to this socket, a path or an abstract name behind `@`, with a watchdog of so many microseconds.
    pub fn new(socket: Option<&OsStr>, watchdog_usec: Option<&str>) -> Self {
        let line = socket.filter(|socket| !socket.is_empty()).and_then(|socket| {
            let address = match socket.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(socket),
            };
            let line = UnixDatagram::unbound().and_then(|line| {
                line.set_nonblocking(true)?;
                Ok((line, address?))
            });
            line.inspect_err(|cause| tracing::warn!(error = %cause, "service manager cannot be told anything"))
                .ok()
        });
        let watchdog = watchdog_usec
            .and_then(|usec| usec.parse().ok())
            .filter(|usec| *usec > 0);
        Self {
            watchdog: watchdog.map(Duration::from_micros).filter(|_| line.is_some()),
            line,
            status: String::new(),
        }
    }

    /// How often [`Notify::alive`] is to be called: twice as often as the service manager insists on.
    pub fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    fn tell(&self, text: &str) {
        if let Some((line, address)) = &self.line
            && let Err(cause) = line.send_to_addr(text.as_bytes(), address)
        {
            tracing::debug!(error = %cause, "service manager does not listen");
        }
    }

    /// The agent does its work.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The agent's loop turns.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// The agent's loop may stand still for this long from now on; [`Notify::alive`] keeps it alive as before.
    pub fn stands_still(&self, span: Duration) {
        if let Some(watchdog) = self.watchdog {
            self.tell(&format!("WATCHDOG_USEC={}", span.max(watchdog).as_micros()));
            self.alive();
        }
    }

    /// The agent's loop turns again: the service manager's own patience counts.
    pub fn goes_on(&self) {
        if let Some(watchdog) = self.watchdog {
            self.tell(&format!("WATCHDOG_USEC={}", watchdog.as_micros()));
            self.alive();
        }
    }

    /// The agent ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// One line for `systemctl status`; the same again is not told.
    pub fn status(&mut self, text: &str) {
        if self.status != text {
            text.clone_into(&mut self.status);
            self.tell(&format!("STATUS={}", text.replace('\n', " ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn everything_is_told_to_a_path_and_to_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = (UnixDatagram::bind(&path).unwrap(), path.into_os_string());
        let name = format!("muster-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into());
        for (listener, socket) in [by_path, by_name] {
            let mut notify = Notify::new(Some(&socket), Some("3000000"));
            assert_eq!(notify.interval(), Some(Duration::from_millis(1500)));
            notify.ready();
            notify.status("one\ntwo");
            notify.status("one\ntwo");
            notify.stands_still(Duration::from_mins(1));
            notify.goes_on();
            notify.stopping();
            for told in [
                "READY=1",
                "STATUS=one two",
                "WATCHDOG_USEC=60000000",
                "WATCHDOG=1",
                "WATCHDOG_USEC=3000000",
                "WATCHDOG=1",
                "STOPPING=1",
            ] {
                assert_eq!(heard(&listener), told);
            }
        }
    }

    #[test]
    fn without_a_socket_nothing_is_told() {
        for (socket, usec) in [
            (None, Some("1000")),
            (Some(""), Some("1000")),
            (Some("/nonexistent/x"), None),
        ] {
            let notify = Notify::new(socket.map(OsStr::new), usec);
            notify.ready();
            assert_eq!(notify.interval(), None);
        }
        let notify = Notify::new(Some(OsStr::new("/nonexistent/x")), Some("soon"));
        assert_eq!(notify.interval(), None);
    }
}
