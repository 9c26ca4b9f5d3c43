//! What stands beside updates: console, scripts, extensions, how the device is connected.

use muster_agent::link::Say;
use muster_link::{
    Completion, Extension, FileChunk, FileMark, FromConsole, FromDevice, FromExtensions, IdentityService, Location,
    Names, Script, ScriptResult, ShellStatus, ToConsole, ToDevice, ToExtensions,
};

use crate::World;
use crate::device::{Options, Process};
use crate::hub::{DEADLINE, Rules};

async fn world(tables: &'static str, extensions: Vec<&'static str>) -> (World, Process) {
    world_by("", tables, extensions).await
}

async fn world_by(server: &'static str, tables: &'static str, extensions: Vec<&'static str>) -> (World, Process) {
    let rules = Rules {
        extensions,
        ..Rules::default()
    };
    let options = Options {
        server,
        tables,
        agent: "connection_types = [\"ethernet\", \"wifi\"]",
        ..Options::default()
    };
    let mut world = World::by(rules, options).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    (world, process)
}

async fn console(world: &mut World) -> FromConsole {
    let console = |say| match say {
        Say::Console(message) => Some(message),
        Say::Device(_) | Say::Extensions(_) => None,
    };
    world.hub.beside(console).await
}

/// What stands on the console and was not looked at yet.
#[derive(Default)]
struct Screen(String);

impl Screen {
    /// Reads the console until this stands there.
    async fn shows(&mut self, world: &mut World, wanted: &str) {
        let read = async {
            while !self.0.contains(wanted) {
                match console(world).await {
                    FromConsole::Up(more) => self.0.push_str(&more),
                    other => panic!("{other:?}"),
                }
            }
        };
        let read = tokio::time::timeout(DEADLINE, read).await;
        assert!(read.is_ok(), "no {wanted:?} in {:?}", self.0);
        let end = self.0.find(wanted).unwrap() + wanted.len();
        self.0.drain(..end);
    }
}

fn down(world: &World, text: &str) {
    world.hub.push_beside(ToConsole::Down(text.to_owned()));
}

#[tokio::test]
async fn device_says_how_it_is_connected() {
    let (mut world, _process) = world("", Vec::new()).await;
    let device = |say| match say {
        Say::Device(message) => Some(message),
        Say::Console(_) | Say::Extensions(_) => None,
    };
    assert_eq!(
        world.hub.beside(device).await,
        FromDevice::NetworkInterface("lo".to_owned())
    );
    let types = vec!["ethernet".to_owned(), "wifi".to_owned()];
    assert_eq!(world.hub.beside(device).await, FromDevice::ConnectionTypes(types));
}

#[tokio::test]
async fn console_is_a_terminal_of_its_own_size_that_starts_again() {
    let (mut world, mut process) = world("[console]\nenabled = true\ninactivity = \"3s\"", Vec::new()).await;
    let FromConsole::Join(join) = console(&mut world).await else {
        panic!();
    };
    assert_eq!(join.console_version.as_deref(), Some("2.0.0"));
    world.hub.push_beside(ToConsole::WindowSize { height: 43, width: 97 });
    process.logged("console shell started").await;
    let mut screen = Screen::default();
    down(&world, "stty size; echo $((6 * 7))-$TERM\r");
    screen.shows(&mut world, "43 97").await;
    screen.shows(&mut world, "42-").await;
    // The terminal is the shell's own: what runs in front ends by its interrupt key, and the shell does not.
    down(&world, "sh -c 'echo $((5 * 5)); exec sleep 600'\r");
    screen.shows(&mut world, "25").await;
    down(&world, "\u{3}");
    down(&world, "echo $((7 * 7))\r");
    screen.shows(&mut world, "49").await;
    world.hub.push_beside(ToConsole::Restart);
    screen.shows(&mut world, "Restarting").await;
    down(&world, "exit 5\r");
    screen.shows(&mut world, "The shell has ended: 5").await;
    down(&world, "echo $((8 * 8))\r");
    screen.shows(&mut world, "64").await;
    screen.shows(&mut world, "Session timed out").await;
}

#[tokio::test]
async fn files_go_both_ways_and_nowhere_else() {
    let (mut world, _process) = world("[console]\nenabled = true", Vec::new()).await;
    console(&mut world).await;
    for filename in ["../a.bin", "a.bin"] {
        let mark = FileMark {
            filename: filename.to_owned(),
            uploaded_by: Some(12),
        };
        let chunk = FileChunk {
            filename: filename.to_owned(),
            chunk: 0,
            data: "AAECAw==".to_owned(),
        };
        world.hub.push_beside(ToConsole::FileStart(mark.clone()));
        world.hub.push_beside(ToConsole::FileData(chunk));
        world.hub.push_beside(ToConsole::FileStop(mark));
    }
    down(&world, "echo $((6 * 7))\r");
    let mut screen = Screen::default();
    screen.shows(&mut world, "42").await;
    let kept = world.device.path("state/console/a.bin");
    assert_eq!(std::fs::read(&kept).unwrap(), [0, 1, 2, 3]);
    assert!(!world.device.path("state/a.bin").exists());

    let (good, text) = world.device.run(&["upload", kept.to_str().unwrap()]).await;
    assert!(good, "{text}");
    let mut data = None;
    loop {
        match console(&mut world).await {
            FromConsole::FileData(chunk) => data = Some(chunk.data),
            FromConsole::FileStop(mark) => {
                assert_eq!(mark.filename, "a.bin");
                break;
            }
            _ => {}
        }
    }
    assert_eq!(data.as_deref(), Some("AAECAw=="));
}

#[tokio::test]
async fn without_a_console_nothing_runs_and_nothing_is_uploaded() {
    let (mut world, _process) = world("", Vec::new()).await;
    let canary = world.device.path("canary");
    down(&world, &format!("touch {}\r", canary.display()));
    let (good, text) = world.device.run(&["upload", "/etc/hostname"]).await;
    assert!(!good && text.contains("no console"), "{text}");
    let refused = script(&mut world, &format!("touch {}", canary.display()), None).await;
    assert_eq!(
        (refused.result, refused.reference.as_str()),
        (Some(Completion::Error), "f3Kx1Q")
    );
    assert!(refused.output.contains("not enabled"), "{refused:?}");
    assert!(!canary.exists());
}

async fn script(world: &mut World, text: &str, timeout: Option<u64>) -> ScriptResult {
    world.hub.push(&ToDevice::RunScript(Script {
        text: text.to_owned(),
        reference: "f3Kx1Q".to_owned(),
        timeout,
    }));
    let result = |say| match say {
        Say::Device(FromDevice::Script(result)) => Some(result),
        _ => None,
    };
    world.hub.beside(result).await
}

#[tokio::test]
async fn scripts_run_where_they_are_enabled_and_are_answered_by_their_time() {
    let (mut world, _process) = world("[scripts]\ninterpreter = [\"/bin/sh\"]", Vec::new()).await;
    let good = script(&mut world, "echo $((6 * 7))", None).await;
    assert_eq!(
        (good.result, good.output.as_str()),
        (Some(Completion::Completed), "42\n")
    );
    let late = script(&mut world, "sleep 600", Some(200)).await;
    assert_eq!(
        (late.result, late.reason.as_deref()),
        (Some(Completion::Error), Some("timeout"))
    );
}

const EXTENSIONS: &str = r#"
[extensions]
local_shell = true
logging = true
metadata = { placement = "roof" }
geo = { latitude = 52.09, longitude = 5.12, accuracy = 25.0 }
network_identity = [{ service = "wireguard", identifier = "KEY", instance = "wg0" }]
"#;

#[tokio::test]
async fn extensions_do_what_they_are_asked_for_until_they_are_detached() {
    for server in ["", "encoding = \"msgpack\""] {
        extensions_by(server).await;
    }
}

async fn extensions_by(server: &'static str) {
    let attached = vec!["health", "geo", "network_identity", "local_shell", "logging"];
    let (mut world, _process) = world_by(server, EXTENSIONS, attached.clone()).await;
    let offers = world.hub.extension(|message| match message {
        FromExtensions::Join(offers) => Some(offers),
        _ => None,
    });
    assert_eq!(offers.await.usable().names().len(), 6);
    for _ in &attached {
        let is_attached = |message| matches!(message, FromExtensions::Attached(_)).then_some(());
        world.hub.extension(is_attached).await;
    }
    world.hub.push_beside(ToExtensions::CheckHealth);
    let report = world.hub.extension(|message| match message {
        FromExtensions::Health(report) => Some(report),
        _ => None,
    });
    let report = report.await;
    assert_eq!(report.metadata["placement"], "roof");
    for metric in ["mem_used_percent", "disk_used_percentage", "load_1min"] {
        assert!(report.metrics.contains_key(metric), "{report:?}");
    }
    world.hub.push_beside(ToExtensions::RequestLocation);
    let location = world.hub.extension(|message| match message {
        FromExtensions::Location(Location::Found(fix)) => Some(fix),
        _ => None,
    });
    assert_eq!(location.await.source.as_deref(), Some("configuration"));
    world.hub.push_beside(ToExtensions::RequestIdentities);
    let identities = world.hub.extension(|message| match message {
        FromExtensions::Identities(identities) => Some(identities),
        _ => None,
    });
    assert_eq!(identities.await[0].service, IdentityService::Wireguard);
    world.hub.push(&ToDevice::Identify);
    let log = |message| match message {
        FromExtensions::Log(line) if line.message.contains("identifies itself") => Some(line.level),
        _ => None,
    };
    assert_eq!(world.hub.extension(log).await, "info");
    shell(&mut world).await;

    world.hub.push_beside(ToExtensions::Detach(Names::All));
    for _ in &attached {
        let is_detached = |message| matches!(message, FromExtensions::Detached(_)).then_some(());
        world.hub.extension(is_detached).await;
    }
    world.hub.push_beside(ToExtensions::RequestIdentities);
    world
        .hub
        .push_beside(ToExtensions::Attach(Names::These(vec!["geo".to_owned()])));
    assert_eq!(
        world.hub.extension(Some).await,
        FromExtensions::Attached(Extension::Geo)
    );
}

async fn shell(world: &mut World) {
    world.hub.push_beside(ToExtensions::RequestShell);
    let status = world.hub.extension(|message| match message {
        FromExtensions::ShellStatus(status) => Some(status),
        _ => None,
    });
    assert_eq!(status.await, ShellStatus::Started);
    world.hub.push_beside(ToExtensions::ShellWindow { rows: 41, cols: 99 });
    world
        .hub
        .push_beside(ToExtensions::ShellInput("stty size; exit 3\n".to_owned()));
    let mut text = String::new();
    loop {
        let output = world.hub.extension(|message| match message {
            FromExtensions::ShellOutput(text) => Some(Ok(text)),
            FromExtensions::ShellExited(code) => Some(Err(code)),
            _ => None,
        });
        match output.await {
            Ok(more) => text.push_str(&more),
            Err(code) => {
                assert!(code == 3 && text.contains("41 99"), "{code}: {text}");
                return;
            }
        }
    }
}

#[tokio::test]
async fn refused_extension_is_stopped_and_a_lost_link_attaches_anew() {
    let (mut world, mut process) = world("", vec!["health"]).await;
    let attached = |message| (message == FromExtensions::Attached(Extension::Health)).then_some(());
    world.hub.extension(attached).await;
    // The refs of the first connection: two joins, two messages of the device, the join and the `attached` of extensions.
    let refusal = r#"["4","5","extensions","phx_reply",{"status":"error","response":"detach"}]"#;
    for reference in 1..=9 {
        world
            .hub
            .push_text(&refusal.replace("\"5\"", &format!("\"{reference}\"")));
    }
    let detached = |message| (message == FromExtensions::Detached(Extension::Health)).then_some(());
    world.hub.extension(detached).await;
    world.hub.close();
    world.hub.join().await;
    world.hub.extension(attached).await;
    process.logged("extension attached").await;
    process.logged("extension attached").await;
}
