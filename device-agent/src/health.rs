//! Whether new firmware is good enough to stay: the server has it, and the script of the configuration agrees.

use crate::config::AgentSettings;
use crate::program::{self, Program};

/// Asks the script, if there is one; says why the firmware is not healthy.
///
/// # Errors
/// The reason.
pub async fn check(settings: &AgentSettings) -> Result<(), String> {
    let Some(script) = settings.health_script.as_ref().filter(|_| settings.validate) else {
        return Ok(());
    };
    let program = Program::new(script, settings.health_time_limit);
    match program::run(program).await {
        Ok(_) => Ok(()),
        Err(cause) => Err(cause.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Settings;

    const TEXT: &str = r#"
        [server]
        url = "wss://host"
        ca = "ca.pem"
        [identity]
        identifier = "d"
        cert = "c.pem"
        key = "k.pem"
        [firmware]
        disk = "disk.img"
        [agent]
        state_dir = "state"
        platform = "linux"
    "#;

    #[tokio::test]
    async fn script_decides_and_no_script_agrees() {
        let mut settings = Settings::parse(TEXT, Path::new("/agent.toml")).unwrap().agent;
        assert_eq!(check(&settings).await, Ok(()));
        settings.health_script = Some("/bin/true".into());
        assert_eq!(check(&settings).await, Ok(()));
        settings.health_script = Some("/bin/false".into());
        assert!(check(&settings).await.is_err());
    }
}
