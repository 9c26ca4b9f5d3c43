//! What is asked of the agent on the device itself, and what the server asks in the same words.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::agent::Agent;
use crate::control::{Asked, Request};
use crate::link::Command;

impl Agent {
    pub(super) fn identify(&self) {
        tracing::info!("device identifies itself");
        let hooks = Arc::clone(&self.parts.custom.hooks);
        tokio::spawn(async move {
            if let Err(cause) = hooks.identify().await {
                tracing::warn!(error = cause, "identify hook failed");
            }
        });
    }

    pub(super) fn asked(&self, Asked { request, answer }: Asked) {
        let said = match request {
            Request::Status => Ok(serde_json::json!({ "status": self.status() })),
            Request::Reconnect => {
                tracing::info!("reconnect asked for");
                self.tell(Command::Reconnect);
                Ok(serde_json::json!({}))
            }
            Request::Identify => {
                self.identify();
                Ok(serde_json::json!({}))
            }
            Request::Upload { path } => self.upload(&path),
        };
        // Who asked may be gone.
        let _ = answer.send(said);
    }

    fn upload(&self, path: &Path) -> Result<Value, String> {
        let console = self.online.as_ref().and_then(|online| online.console.as_ref());
        let console = console.ok_or("the configuration enables no console")?;
        console.send_file(path);
        Ok(serde_json::json!({}))
    }
}
