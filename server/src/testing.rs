//! The stage that database tests play on: a real database, a real object store, a clock that is moved by hand.

use actix_web::http::header::HeaderMap;
use actix_web::http::{StatusCode, header};
use actix_web::test::TestRequest;
use actix_web::{App as ActixApp, test, web};
use object_store::local::LocalFileSystem;
use serde_json::Value;
use sqlx::PgPool;
use std::sync::Arc;
use tempfile::TempDir;
use time::macros::datetime;
use zeroize::Zeroizing;

use crate::accounts::service::NewUser;
use crate::accounts::{self, Org, Role, Viewer};
use crate::app::{App, Urls};
use crate::config::BaseUrl;
use crate::platform::Platform;
use crate::platform::blobs::Blobs;
use crate::platform::clock::Clock;
use crate::platform::events::{Bell, Bus};
use crate::platform::ids::Id as _;
use crate::platform::metrics::Metrics;
use crate::platform::nodes::NodeId;
use crate::platform::random::Random;
use crate::platform::vault::Vault;
use crate::products::{self, Product};
use crate::routes;

/// The password of everyone on the stage.
pub const PASSWORD: &str = "correct horse battery";

/// A server's inside, without its sockets.
#[derive(Debug)]
pub struct Stage {
    /// What handlers share.
    pub app: App,
    dir: TempDir,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: web::Bytes,
}

impl Answer {
    /// The body as JSON; null when there is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// `data` of the body.
    pub fn data(&self) -> Value {
        self.json()["data"].clone()
    }

    /// `errors.detail` of the body.
    pub fn detail(&self) -> String {
        self.json()["errors"]["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// A header's text.
    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Stage {
    pub async fn new(db: PgPool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(datetime!(2026-08-20 10:11:12 UTC));
        let random = Random::system();
        let platform = Platform {
            db,
            blobs: Blobs::new(Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap())),
            vault: Vault::new(Zeroizing::new([7; 32]), clock.clone(), random.clone()),
            events: Bus::new(Bell::Postgres),
            metrics: Metrics::new().unwrap(),
            node: NodeId::from_parts(&clock, &random),
            clock,
            random,
        };
        Self {
            app: App::assemble(
                platform,
                Urls {
                    public: BaseUrl::new("http", "localhost", 4000),
                    firmware: BaseUrl::new("https", "localhost", 4001),
                    firmware_lifetime: time::Duration::hours(24),
                },
                None,
            )
            .await
            .unwrap()
            .0,
            dir,
        }
    }

    pub fn platform(&self) -> &Platform {
        &self.app.platform
    }

    /// A person, a member of the org, which is made when it is not there.
    pub async fn member(&self, org: &str, email: &str, role: Role) -> (Viewer, Org) {
        let platform = self.platform();
        let user = NewUser {
            email,
            name: "Ada",
            password: Zeroizing::new(PASSWORD.to_owned()),
        };
        accounts::service::create_user(platform, user).await.unwrap();
        let _ = accounts::service::create_org(platform, org).await;
        accounts::service::add_member(platform, org, email, role).await.unwrap();
        let attempt = accounts::service::Attempt {
            email,
            password: Zeroizing::new(PASSWORD.to_owned()),
            address: None,
            note: "",
            context: accounts::TokenContext::Session,
        };
        let signed_in = accounts::service::sign_in(platform, &self.app.sign_ins, attempt).await;
        let secret = signed_in.unwrap().unwrap().secret.text();
        let viewer = accounts::service::viewer_of_session(platform, &secret)
            .await
            .unwrap()
            .unwrap();
        let org = self.org(&viewer, org).await.unwrap();
        (viewer, org)
    }

    pub async fn org(&self, viewer: &Viewer, name: &str) -> Option<Org> {
        let mut conn = self.platform().db.acquire().await.unwrap();
        accounts::access(&mut conn, viewer, name).await.unwrap()
    }

    /// An admin of the org and a product of it.
    pub async fn product(&self, org: &str, email: &str, product: &str) -> (Viewer, Product) {
        let (viewer, org) = self.member(org, email, Role::Admin).await;
        let product = products::service::create(self.platform(), &org, product).await.unwrap();
        (viewer, product)
    }

    /// An API token of the viewer.
    pub async fn token(&self, viewer: &Viewer) -> String {
        let secret = accounts::service::create_api_token(self.platform(), viewer, "test").await;
        secret.unwrap().text()
    }

    /// What the web listener answers to a request; with a token when there is one.
    pub async fn call(&self, token: Option<&str>, request: TestRequest) -> Answer {
        let service = test::init_service(
            ActixApp::new()
                .app_data(web::Data::new(self.app.clone()))
                .configure(routes::web),
        )
        .await;
        let request = match token {
            Some(token) => request.insert_header((header::AUTHORIZATION, format!("token {token}"))),
            None => request,
        };
        let response = test::call_service(&service, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        Answer {
            status,
            headers,
            bytes: test::read_body(response).await,
        }
    }

    /// A GET with a token.
    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.call(Some(token), TestRequest::get().uri(path)).await
    }

    /// A POST of JSON with a token.
    pub async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(Some(token), TestRequest::post().uri(path).set_json(body))
            .await
    }

    /// A PUT of JSON with a token.
    pub async fn put(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(Some(token), TestRequest::put().uri(path).set_json(body))
            .await
    }

    /// A DELETE with a token.
    pub async fn delete(&self, token: &str, path: &str) -> Answer {
        self.call(Some(token), TestRequest::delete().uri(path)).await
    }

    /// The files of the object store, unfinished ones too.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.display().to_string());
                }
            }
        }
        files
    }

    /// Removes every blob behind the server's back.
    pub fn remove_blobs(&self) {
        for file in self.files() {
            std::fs::remove_file(file).unwrap();
        }
    }

    /// Makes every write of firmware fail: a file stands where its folder should be.
    pub fn break_store(&self) {
        std::fs::write(self.dir.path().join("firmware"), "").unwrap();
    }

    /// The actions of the audit log, oldest first.
    pub async fn audited(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT action FROM audit_entries ORDER BY ctid")
            .fetch_all(&self.platform().db)
            .await
            .unwrap()
    }
}
