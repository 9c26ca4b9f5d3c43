//! Pages of archives: the list where they are dropped, one archive, delete.

use actix_multipart::Multipart;
use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::model::{Archive, ArchiveId};
use super::views::{DeletePage, IndexPage, Row, ShowPage};
use crate::accounts::Role;
use crate::app::App;
use crate::deployments::service as deployments;
use crate::keys::service as keys;
use crate::packages::pages::{Token, take};
use crate::packages::service;
use crate::products::Product;
use crate::products::views::frame;
use crate::web::forms::{Confirmed, Form, Wrong, wrong};
use crate::web::page::{self, Section, path};
use crate::web::{Error, OrNotFound as _, extract};

/// The product's archives.
pub async fn index(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    page::ok(&list(&request, &app, &product, None).await?)
}

async fn list(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    refused: Option<String>,
) -> Result<IndexPage, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let archives = service::list(&mut conn, product).await?;
    let has_keys = !keys::list(&mut conn, product.org()).await?.is_empty();
    drop(conn);
    Ok(IndexPage {
        frame: frame(request, product, Section::Archives, "Archives"),
        rows: rows(app, product, archives).await?,
        may_change: product.org().require(Role::Manage).is_ok(),
        refused,
        has_keys,
        public_url: app.urls.public.to_string(),
    })
}

/// Archives with who hands them out.
async fn rows(app: &App, product: &Product, archives: Vec<Archive>) -> Result<Vec<Row>, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let groups = deployments::list(&mut conn, product).await?;
    let row = |archive: Archive| Row {
        url: format!("{}/{}", archives_url(product), archive.uuid),
        groups: groups
            .iter()
            .filter(|group| group.archive_uuid == Some(archive.uuid))
            .map(|group| group.name.clone())
            .collect(),
        archive,
    };
    Ok(archives.into_iter().map(row).collect())
}

fn archives_url(product: &Product) -> String {
    path(&["org", product.org().name(), product.name(), "archives"])
}

/// Takes an archive, while it streams.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    token: web::Query<Token>,
    form: Multipart,
) -> Result<HttpResponse, Error> {
    match take::<ArchiveId>(&request, &app, &product, &token, form).await? {
        None => Ok(page::see_other(&archives_url(&product))),
        refused => page::invalid(&list(&request, &app, &product, refused).await?),
    }
}

/// The archive of the path.
async fn archive(request: &HttpRequest, app: &App, product: &Product) -> Result<Row, Error> {
    let uuid: Uuid = extract::name(request, "archive")?
        .parse()
        .map_err(|_| Error::NotFound)?;
    let mut conn = app.platform.db.acquire().await?;
    let archive = service::find(&mut conn, product, uuid).await?.or_404()?;
    drop(conn);
    rows(app, product, vec![archive]).await?.pop().or_404()
}

/// One archive.
pub async fn show(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let row = archive(&request, &app, &product).await?;
    let may_change = product.org().require(Role::Manage).is_ok();
    let (uuid, urls) = (row.archive.uuid, &app.package_urls);
    let download = if may_change {
        Some(service::download_path::<ArchiveId>(&app.platform, urls, &product, uuid).await?)
    } else {
        None
    };
    page::ok(&ShowPage {
        frame: frame(&request, &product, Section::Archives, &row.archive.version)
            .under("Archives", archives_url(&product)),
        row,
        may_change,
        download,
    })
}

fn asking(request: &HttpRequest, product: &Product, row: Row, wrong: Wrong) -> DeletePage {
    DeletePage {
        frame: frame(request, product, Section::Archives, "Delete")
            .under("Archives", archives_url(product))
            .under(&row.archive.version, row.url.clone()),
        row,
        wrong,
    }
}

/// Asks before an archive is deleted.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let row = archive(&request, &app, &product).await?;
    page::ok(&asking(&request, &product, row, Wrong::nothing()))
}

/// Deletes an archive, unless a release uses it.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(form): Form<Confirmed>,
) -> Result<HttpResponse, Error> {
    let row = archive(&request, &app, &product).await?;
    let done = if form.is(&row.archive.version) {
        service::delete::<ArchiveId>(&app.platform, &product, row.archive.uuid)
            .await
            .map_err(Error::from)
    } else {
        Err(Error::invalid("confirm", "is not the version of this archive"))
    };
    match done {
        Ok(()) => Ok(page::see_other(&archives_url(&product))),
        Err(error) => page::invalid(&asking(&request, &product, row, wrong(error)?)),
    }
}
