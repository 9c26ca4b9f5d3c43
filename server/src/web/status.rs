//! How the server is, for load balancers and for Prometheus.

use std::future::Future;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Data, ServiceConfig, get};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use tokio::time::timeout;

use crate::app::App;
use crate::platform::db;

/// A part that does not answer for this long has failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the server lives, on every listener; and the names that this question has elsewhere.
pub fn alive_routes(routes: &mut ServiceConfig) {
    for path in ["/status/alive", "/status/_health", "/status/health", "/status/healthy"] {
        routes.route(path, get().to(alive));
    }
}

/// What the web listener says of itself.
pub fn routes(routes: &mut ServiceConfig) {
    alive_routes(routes);
    routes
        .route("/status/ready", get().to(ready))
        .route("/metrics", get().to(guarded_figures));
}

/// What the listener for figures says.
pub fn figures(routes: &mut ServiceConfig) {
    alive_routes(routes);
    routes.route("/metrics", get().to(all_figures));
}

async fn alive(app: Data<App>) -> HttpResponse {
    let answer = answers("database", db::ping(&app.platform.db)).await;
    let (mut response, text) = if answer {
        (HttpResponse::Ok(), "alive\n")
    } else {
        (HttpResponse::InternalServerError(), "the database does not answer\n")
    };
    response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

async fn ready(app: Data<App>) -> HttpResponse {
    let platform = &app.platform;
    let (database, store, migrations) = tokio::join!(
        answers("database", db::ping(&platform.db)),
        answers("store", platform.blobs.ping()),
        answers("migrations", async {
            match db::missing_migrations(&platform.db).await? {
                0 => Ok(()),
                _ => Err(sqlx::Error::RowNotFound),
            }
        }),
    );
    let word = |ok: bool| if ok { "ok" } else { "failed" };
    let mut response = if database && store && migrations {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "database": word(database), "store": word(store), "migrations": word(migrations) }))
}

async fn answers<T, E: std::fmt::Display>(part: &'static str, question: impl Future<Output = Result<T, E>>) -> bool {
    match timeout(PATIENCE, question).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::warn!(part, %error, "a part of the server is not ready");
            false
        }
        Err(_) => {
            tracing::warn!(part, "a part of the server does not answer");
            false
        }
    }
}

/// Without a token that opens them, there are no figures here.
async fn guarded_figures(app: Data<App>, request: HttpRequest) -> HttpResponse {
    let Some(token) = &app.metrics_token else {
        return HttpResponse::NotFound().finish();
    };
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if given
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|given| token.matches(given))
    {
        return all_figures(app).await;
    }
    HttpResponse::Unauthorized()
        .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
        .finish()
}

async fn all_figures(app: Data<App>) -> HttpResponse {
    match app.platform.metrics.text() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .content_type("text/plain; version=0.0.4; charset=utf-8")
            .body(text),
        Err(error) => {
            tracing::error!(%error, "the figures could not be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}
