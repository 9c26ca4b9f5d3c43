//! What is asked of connected devices over REST.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::devices::command::{Command, UnknownCommand};
use crate::devices::extract::Found;
use crate::devices::service::commands;
use crate::products::Product;
use crate::web::extract::{self, Body};
use crate::web::{Error, OrNotFound as _, api};

/// `POST D/identify`, `D/reboot`, `D/reconnect`, and the same of `S`: sent also when the device is away, who then does not
/// hear it.
pub async fn ask(request: HttpRequest, app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let Found { product, device } = found.present()?;
    let command: Option<Command> = extract::name(&request, "command")?.parse().ok();
    commands::ask(&app.platform, product.org(), &device, command.or_404()?).await?;
    Ok(api::no_content())
}

/// What a client asks of all.
#[derive(Debug, Deserialize)]
pub struct Asked {
    command: String,
}

/// `POST P/commands`: asks every connected device of the product; says how many these are.
pub async fn ask_all(app: web::Data<App>, product: Product, Body(asked): Body<Asked>) -> Result<HttpResponse, Error> {
    let command: Command = asked
        .command
        .parse()
        .map_err(|error: UnknownCommand| Error::invalid("command", error.to_string()))?;
    let connected = commands::ask_all(&app.platform, &product, command).await?;
    Ok(api::data(json!({ "command": command.name(), "connected": connected })))
}
