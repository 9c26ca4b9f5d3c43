//! What is asked of connected devices: of one, and of all of a product.

use actix_web::{HttpRequest, HttpResponse, web};

use super::refusal;
use super::show::{Nothing, device, devices_url, url};
use crate::app::App;
use crate::devices::command::{Command, UnknownCommand};
use crate::devices::service::commands;
use crate::devices::views::commands::{CommandsPage, RebootPage};
use crate::products::Product;
use crate::products::views::frame;
use crate::web::forms::{Form, Wrong, wrong};
use crate::web::page::{self, Section, path};
use crate::web::{Error, OrNotFound as _, extract};

/// Asks the device what the path names.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    _: Form<Nothing>,
) -> Result<HttpResponse, Error> {
    let command: Option<Command> = extract::name(&request, "command")?.parse().ok();
    let command = command.or_404()?;
    let device = device(&request, &app, &product).await?;
    commands::ask(&app.platform, product.org(), &device, command)
        .await
        .map_err(|error| refusal(error, ""))?;
    Ok(page::see_other(&url(&product, &device)))
}

/// Asks before the device is rebooted.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    page::ok(&RebootPage {
        frame: frame(&request, &product, Section::Devices, "Reboot")
            .under("Devices", devices_url(&product))
            .under(&device.identifier, url(&product, &device)),
        url: url(&product, &device),
        device: &device,
    })
}

/// What is asked of all, and the product's name typed again.
#[derive(Debug, serde::Deserialize)]
pub struct Fields {
    command: String,
    confirm: String,
}

async fn asking(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    chosen: Command,
    wrong: Wrong,
) -> Result<CommandsPage, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let (devices, connected) = commands::counts(&mut conn, product).await?;
    Ok(CommandsPage {
        frame: frame(request, product, Section::Devices, "Ask all").under("Devices", devices_url(product)),
        url: path(&["org", product.org().name(), product.name(), "commands"]),
        devices,
        connected,
        chosen,
        asked: None,
        wrong,
    })
}

/// What may be asked of all, and how many will hear it.
pub async fn index(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    page::ok(&asking(&request, &app, &product, Command::Identify, Wrong::nothing()).await?)
}

/// Asks every connected device of the product.
pub async fn create_all(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(fields): Form<Fields>,
) -> Result<HttpResponse, Error> {
    let command: Command = fields
        .command
        .parse()
        .map_err(|error: UnknownCommand| Error::invalid("command", error.to_string()))?;
    if fields.confirm.trim() != product.name() {
        let wrong = wrong(Error::invalid("confirm", "is not the name of this product"))?;
        return page::invalid(&asking(&request, &app, &product, command, wrong).await?);
    }
    let count = commands::ask_all(&app.platform, &product, command)
        .await
        .map_err(|error| refusal(error, ""))?;
    let page = asking(&request, &app, &product, Command::Identify, Wrong::nothing()).await?;
    page::ok(&CommandsPage {
        asked: Some((command, count)),
        ..page
    })
}
