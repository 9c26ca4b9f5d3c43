use muster_link::{ConsoleJoin, FromConsole, ToConsole};

use super::*;

const CONSOLE: &str = r#"["2","2","console","phx_join",{"console_version":"2.0.0"}]"#;
const REPLY: &str = r#"["2","2","console","phx_reply",{"status":"ok","response":{}}]"#;

fn with_console() -> Session {
    let mut session = joined();
    hear(&mut session, CONSOLE);
    session
}

#[test]
fn console_is_joined_before_the_device_or_after_it() {
    let version = ConsoleJoin {
        console_version: Some("2.0.0".into()),
        device_api_version: None,
    };
    for mut session in [Session::default(), joined()] {
        let effects = hear(&mut session, CONSOLE);
        assert_eq!(sent(&effects[..1]), [REPLY]);
        assert_eq!(
            effects[1..],
            [Effect::Relay(Relay::Console(FromConsole::Join(version.clone())))]
        );
    }
}

#[test]
fn output_goes_to_who_watches_and_gets_no_reply() {
    let effects = hear(&mut with_console(), r#"["2","5","console","up",{"data":"iex> "}]"#);
    assert_eq!(
        effects,
        [Effect::Relay(Relay::Console(FromConsole::Up("iex> ".into())))]
    );
    let effects = hear(
        &mut with_console(),
        r#"[null,"5","console","file-data/start",{"filename":"a"}]"#,
    );
    assert!(matches!(
        effects[..],
        [Effect::Relay(Relay::Console(FromConsole::FileStart(_)))]
    ));
    for odd in [
        r#"["9","5","console","up",{"data":"of an earlier join"}]"#,
        r#"["2","5","console","up",{}]"#,
        r#"["2","5","console","elsewhere",{}]"#,
        r#"["2","5","console","file-data/start",{"filename":"../a"}]"#,
    ] {
        assert_eq!(hear(&mut with_console(), odd), [], "{odd}");
    }
}

#[test]
fn keystrokes_carry_the_join_and_no_ref() {
    let effects = tell(&mut with_console(), ToConsole::Down("ls\r".into()));
    assert_eq!(sent(&effects), [r#"["2",null,"console","dn",{"data":"ls\r"}]"#]);
    assert_eq!(tell(&mut joined(), ToConsole::Restart), []);
}

#[test]
fn console_that_was_left_is_told_nothing() {
    let mut session = with_console();
    let effects = hear(&mut session, r#"["2","6","console","phx_leave",{}]"#);
    assert_eq!(
        sent(&effects),
        [r#"["2","6","console","phx_reply",{"status":"ok","response":{}}]"#]
    );
    assert_eq!(tell(&mut session, ToConsole::Restart), []);
    assert_eq!(hear(&mut session, r#"["2","7","console","up",{"data":"x"}]"#), []);
}

#[test]
fn code_of_connects_is_typed_where_no_scripts_run() {
    let code = || Welcome {
        connecting_code: "go()".into(),
        ..Welcome::default()
    };
    let typed = r#"["2",null,"console","dn",{"data":"go()\n\r"}]"#;
    let join = r#"["1","1","device","phx_join",{"device_api_version":"2.0.0"}]"#;
    let mut early = Session::default();
    hear(&mut early, CONSOLE);
    hear(&mut early, join);
    assert_eq!(sent(&welcome(&mut early, code()))[1..], [typed]);
    let mut late = Session::default();
    hear(&mut late, join);
    assert_eq!(sent(&welcome(&mut late, code())).len(), 1);
    let effects = hear(&mut late, CONSOLE);
    assert_eq!(sent(&effects[2..]), [typed]);
    assert_eq!(hear(&mut late, CONSOLE).len(), 2, "it is typed once");
    let mut again = Session::default();
    hear(&mut again, join);
    welcome(&mut again, code());
    hear(&mut again, join);
    welcome(&mut again, Welcome::default());
    assert_eq!(
        hear(&mut again, CONSOLE).len(),
        2,
        "code of an earlier join is not typed"
    );
    hear(&mut again, r#"["2","6","console","phx_leave",{}]"#);
    hear(&mut again, join);
    assert_eq!(sent(&welcome(&mut again, code())).len(), 1);
    let effects = hear(&mut again, CONSOLE);
    assert_eq!(sent(&effects[2..]), [typed], "a console that was left is waited for");
}
