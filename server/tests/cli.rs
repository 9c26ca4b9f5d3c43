//! The real binary: what it starts, what it refuses, and that it leaves nothing behind.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests: what goes wrong here fails them"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{ConnectOptions as _, PgPool};
use tempfile::TempDir;

/// Longer than anything here takes, on a busy machine too.
const DEADLINE: Duration = Duration::from_mins(1);

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(20));
    }
}

fn muster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-server"));
    for (name, _) in std::env::vars() {
        if name.starts_with("MUSTER_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a command says that must end by itself.
fn output_of(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
            panic!("{command:?} did not end: {}", said(&child.wait_with_output().unwrap()));
        }
        sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A server of `up` on free ports.
struct Up {
    child: Child,
}

impl Up {
    fn command(dir: &Path) -> Command {
        let mut command = muster();
        command
            .args(["up", "--web", "127.0.0.1:0", "--devices", "127.0.0.1:0", "--data-dir"])
            .arg(dir);
        command
    }

    fn start(dir: &Path) -> Self {
        let log = fs::File::create(dir.join("test.log")).unwrap();
        let child = Self::command(dir)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut up = Self { child };
        eventually("the server is up", || {
            if let Some(status) = up.child.try_wait().unwrap() {
                panic!("{status}: {}", log_of(dir));
            }
            dir.join("addrs.json").exists().then_some(())
        });
        up
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        eventually("the server has ended", || self.child.try_wait().unwrap())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("test.log")).unwrap()
}

fn addr(dir: &Path, listener: &str) -> SocketAddr {
    let addrs: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("addrs.json")).unwrap()).unwrap();
    addrs[listener].as_str().unwrap().parse().unwrap()
}

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Processes of the cluster in `dir`.
fn postgres_of(dir: &Path) -> Vec<i32> {
    let data = dir.join("postgres").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = command.split(|byte| *byte == 0);
        words.into_iter().any(|word| word == data.as_bytes())
    })
    .collect()
}

#[test]
fn up_serves_alone_on_its_folder_and_takes_its_postgres_with_it() {
    let dir = TempDir::new().unwrap();
    let mut up = Up::start(dir.path());
    let web = addr(dir.path(), "web");
    let ready = get(web, "/status/ready");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(
        ready.ends_with(r#"{"database":"ok","migrations":"ok","store":"ok"}"#),
        "{ready}"
    );
    for path in ["/status/alive", "/status/_health", "/status/health", "/status/healthy"] {
        assert!(get(web, path).starts_with("HTTP/1.1 200"), "{path}");
    }
    assert!(get(web, "/metrics").starts_with("HTTP/1.1 404"));
    assert!(dir.path().join("ca.pem").exists());

    let second = output_of(&mut Up::command(dir.path()));
    assert_eq!(second.status.code(), Some(1));
    let text = said(&second);
    assert!(text.contains("is in use by another muster-server (process "), "{text}");
    assert!(text.contains(&up.child.id().to_string()), "{text}");

    up.signal(Signal::SIGTERM);
    assert_eq!(up.end().code(), Some(0), "{}", log_of(dir.path()));
    assert_eq!(postgres_of(dir.path()), Vec::<i32>::new());
    assert!(!dir.path().join("addrs.json").exists());
}

#[test]
fn up_after_a_kill_ends_the_orphan_and_goes_on_with_the_same_data() {
    let dir = TempDir::new().unwrap();
    let mut first = Up::start(dir.path());
    let ca = fs::read(dir.path().join("ca.pem")).unwrap();
    assert!(log_of(dir.path()).contains("password"), "{}", log_of(dir.path()));
    first.signal(Signal::SIGKILL);
    first.end();
    let orphans = postgres_of(dir.path());
    assert_eq!(orphans.len(), 1, "the killed server's Postgres lives on");
    fs::remove_file(dir.path().join("addrs.json")).unwrap();

    let mut second = Up::start(dir.path());
    let log = log_of(dir.path());
    assert!(
        log.contains("ending the Postgres that a killed server left behind"),
        "{log}"
    );
    assert!(!log.contains("password"), "{log}");
    assert!(!postgres_of(dir.path()).contains(&orphans[0]));
    assert_eq!(fs::read(dir.path().join("ca.pem")).unwrap(), ca);
    assert!(get(addr(dir.path(), "web"), "/status/ready").starts_with("HTTP/1.1 200"));

    // A request that never ends holds the drain up; the second Ctrl-C does not wait for it.
    let mut held = TcpStream::connect(addr(dir.path(), "web")).unwrap();
    held.write_all(b"GET /status/ready HTTP/1.1\r\n").unwrap();
    second.signal(Signal::SIGINT);
    eventually("the first Ctrl-C is heard", || {
        log_of(dir.path()).contains("a second Ctrl-C").then_some(())
    });
    second.signal(Signal::SIGINT);
    assert_eq!(second.end().code(), Some(130));
    eventually("Postgres is gone", || postgres_of(dir.path()).is_empty().then_some(()));
}

#[test]
fn up_names_a_taken_port_before_it_starts_anything() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = output_of(
        muster()
            .args([
                "up",
                "--devices",
                "127.0.0.1:0",
                "--web",
                &format!("127.0.0.1:{port}"),
                "--data-dir",
            ])
            .arg(dir.path()),
    );
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        text.contains(&format!("port {port} is taken")) && text.contains("--web"),
        "{text}"
    );
    assert!(!dir.path().join("postgres").exists());
}

#[test]
fn up_says_which_folder_the_user_postgres_cannot_enter() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let closed = TempDir::new().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let output = output_of(&mut Up::command(&closed.path().join("data")));
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    let wanted = format!("the user `postgres`, who cannot enter {}.", closed.path().display());
    assert!(text.contains(&wanted), "{text}");
    assert!(!closed.path().join("data/postgres").exists());
}

#[test]
fn config_check_tells_every_problem_and_exits_1() {
    let output = output_of(
        muster()
            .args(["config", "check", "--web", "here", "--store", "ftp://there"])
            .env("MUSTER_PUBLIC_URL", "nowhere"),
    );
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    for part in [
        "web_addr (from --web) is \"here\"",
        "store (from --store) is \"ftp://there\"",
        "public_url (from MUSTER_PUBLIC_URL) is \"nowhere\"",
        "database_url is missing",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let usage = output_of(muster().args(["config", "chekc"]));
    assert_eq!(usage.status.code(), Some(2));
}

/// A folder with what `serve` needs besides a database.
fn serving(dir: &Path, database: &PgPool) -> Command {
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(dir.join("device.pem"), certificate.cert.pem()).unwrap();
    fs::write(dir.join("device.key"), certificate.signing_key.serialize_pem()).unwrap();
    let config = format!(
        "database_url = {:?}\nstore = \"file://{dir}/blobs\"\nmaster_key = \"{}\"\ndevice_cert = \"{dir}/device.pem\"\n\
         device_key = \"{dir}/device.key\"\nweb_addr = \"127.0.0.1:0\"\ndevice_addr = \"127.0.0.1:0\"\n\
         metrics_token = \"0123456789abcdef\"\n",
        database.connect_options().to_url_lossy().to_string(),
        "00".repeat(32),
        dir = dir.display(),
    );
    fs::write(dir.join("muster.toml"), config).unwrap();
    let mut command = muster();
    command.env("MUSTER_CONFIG", dir.join("muster.toml"));
    command
}

#[sqlx::test(migrations = false)]
async fn serve_refuses_a_database_that_is_behind_until_it_is_migrated(database: PgPool) {
    let dir = TempDir::new().unwrap();
    let run = |args: &[&str]| output_of(serving(dir.path(), &database).args(args));
    let check = run(&["config", "check"]);
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    assert!(!said(&check).contains("0123456789abcdef"), "{}", said(&check));

    let behind = run(&["serve"]);
    assert_eq!(behind.status.code(), Some(1));
    assert!(said(&behind).contains("`muster-server migrate`"), "{}", said(&behind));
    assert!(said(&run(&["migrate"])).contains("The database is up to date."));

    let mut command = serving(dir.path(), &database);
    let mut child = command.arg("serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let port = line.trim().rsplit_once(':').unwrap().1;
    let web: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    assert!(get(web, "/status/ready").starts_with("HTTP/1.1 200"));
    assert!(get(web, "/metrics").starts_with("HTTP/1.1 401"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(
        eventually("the server has ended", || child.try_wait().unwrap()).code(),
        Some(0)
    );
}

#[test]
fn commands_work_on_the_database_of_an_up_that_runs() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    let run = |args: &[&str]| output_of(muster().args(args).arg("--data-dir").arg(path).current_dir(path));
    let add = [
        "user",
        "add",
        "--email",
        "ada@example.com",
        "--name",
        "Ada",
        "--org",
        "acme",
        "--role",
        "admin",
    ];
    let early = run(&add);
    assert_eq!(early.status.code(), Some(1));
    assert!(
        said(&early).contains("no `muster-server up` runs on --data-dir"),
        "{}",
        said(&early)
    );

    let up = Up::start(path);
    let added = said(&run(&add));
    assert!(
        added.contains("with the password ") && added.contains("with the role admin"),
        "{added}"
    );
    for args in [
        ["ca", "init", "--org", "acme", "--name", "Kiosk CA"],
        ["ca", "issue", "--org", "acme", "--identifier", "kiosk-1"],
    ] {
        let output = run(&args);
        // The server's own ca.pem is not overwritten.
        let taken = args[1] == "init";
        assert_eq!(output.status.code(), Some(i32::from(taken)), "{}", said(&output));
        if taken {
            let output = run(&[args.as_slice(), &["--out", "kiosks.pem"]].concat());
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        }
    }
    assert!(path.join("kiosks.pem").exists() && path.join("kiosk-1.pem").exists() && path.join("kiosk-1.key").exists());

    fs::write(path.join("new.key"), "11".repeat(32)).unwrap();
    let rotated = said(&run(&["keys", "rotate", "--new-master-key", "new.key"]));
    assert!(rotated.contains("2 keys of CAs"), "{rotated}");
    drop(up);
    let wrong = output_of(&mut Up::command(path));
    assert!(
        said(&wrong).contains("is this the master key that sealed it?"),
        "{}",
        said(&wrong)
    );
    fs::copy(path.join("new.key"), path.join("master.key")).unwrap();
    Up::start(path);
}
