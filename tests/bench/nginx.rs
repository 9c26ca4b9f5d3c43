//! Debian's nginx on loopback, to compare with: sendfile over TLS, with the measured server's own certificate.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::process::Process;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where Debian puts it, which is not on every PATH.
const PROGRAM: &str = "/usr/sbin/nginx";

/// A running nginx. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Nginx {
    /// Serves the files of `folder/html` with the certificate and key of `tls`.
    pub fn start(folder: &Path, tls: &Path) -> anyhow::Result<Self> {
        // The port may be taken again before nginx has it, which the wait below then tells.
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = folder.join("nginx.conf");
        fs::write(&config, configuration(folder, tls, addr))?;
        let log = fs::File::create(folder.join("nginx.out"))?;
        let program = if Path::new(PROGRAM).exists() { PROGRAM } else { "nginx" };
        let child = Command::new(program)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(folder.join("error.log"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("nginx, which is compared with, does not start; `make setup-bench` installs it")?;
        let mut process = Process::new(child);
        let began = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if process.has_ended() || began.elapsed() > PATIENCE {
                bail!(
                    "nginx does not listen: {}",
                    fs::read_to_string(folder.join("nginx.out"))?
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            _process: process,
            addr,
        })
    }
}

/// The folder that it serves; as root its workers run as another user, who must be able to read it.
pub fn html(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let html = folder.join("html");
    fs::create_dir_all(&html)?;
    for open in [folder, &html] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755))?;
    }
    Ok(html)
}

fn configuration(folder: &Path, tls: &Path, addr: SocketAddr) -> String {
    let (folder, tls) = (folder.display(), tls.display());
    format!(
        "daemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\nevents {{}}\nhttp {{\n  access_log off;\n  sendfile on;\n  \
         tcp_nopush on;\n  default_type application/octet-stream;\n  client_body_temp_path {folder}/body;\n  \
         proxy_temp_path {folder}/proxy;\n  fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  \
         scgi_temp_path {folder}/scgi;\n  server {{\n    listen {addr} ssl;\n    ssl_certificate {tls}/server.pem;\n    \
         ssl_certificate_key {tls}/server.key;\n    ssl_protocols TLSv1.2 TLSv1.3;\n    root {folder}/html;\n  }}\n}}\n"
    )
}
