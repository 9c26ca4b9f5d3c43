use actix_web::test::TestRequest;
use serde_json::json;
use sqlx::PgPool;
use time::Duration;
use zeroize::Zeroizing;

use super::service::{self, AccountError, Attempt, NewUser};
use super::{MAX_FAILURES, Role, SESSION_COOKIE, SESSION_LIFETIME, TokenContext};
use crate::testing::{PASSWORD, Stage};

fn attempt<'a>(email: &'a str, password: &str, context: TokenContext) -> Attempt<'a> {
    Attempt {
        email,
        password: Zeroizing::new(password.to_owned()),
        address: None,
        note: "laptop",
        context,
    }
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn the_first_start_makes_an_admin_once(db: PgPool) {
    let stage = Stage::new(db).await;
    let password = service::bootstrap(stage.platform(), "acme", "Admin@Acme.test")
        .await
        .unwrap()
        .unwrap();
    assert!(
        service::bootstrap(stage.platform(), "other", "x@y.test")
            .await
            .unwrap()
            .is_none()
    );
    let signed_in = service::sign_in(
        stage.platform(),
        &stage.app.sign_ins,
        attempt(" admin@ACME.test", &password, TokenContext::Session),
    );
    let secret = signed_in.await.unwrap().unwrap().secret.text();
    let viewer = service::viewer_of_session(stage.platform(), &secret)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stage.org(&viewer, "ACME").await.unwrap().role(), Role::Admin);
    assert!(stage.org(&viewer, "other").await.is_none());
    assert_eq!(stage.audited().await, ["org.created"]);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn accounts_that_cannot_be_are_refused_by_field(db: PgPool) {
    let stage = Stage::new(db).await;
    stage.member("acme", "ada@x.io", Role::View).await;
    let create = |email, name, password: &str| {
        let password = Zeroizing::new(password.to_owned());
        service::create_user(stage.platform(), NewUser { email, name, password })
    };
    assert!(matches!(
        create("Ada@x.io", "A", PASSWORD).await,
        Err(AccountError::EmailTaken)
    ));
    assert!(matches!(create("ada", "A", PASSWORD).await, Err(AccountError::Email)));
    assert!(matches!(create("b@x.io", " ", PASSWORD).await, Err(AccountError::Name)));
    assert!(matches!(
        create("b@x.io", "B", "short").await,
        Err(AccountError::Password)
    ));
    assert!(matches!(
        service::create_org(stage.platform(), "Acme").await,
        Err(AccountError::OrgTaken)
    ));
    assert!(matches!(
        service::create_org(stage.platform(), "a b").await,
        Err(AccountError::OrgName)
    ));
    let add = service::add_member(stage.platform(), "none", "ada@x.io", Role::View).await;
    assert!(matches!(add, Err(AccountError::NoSuchOrg)));
    let add = service::add_member(stage.platform(), "acme", "b@x.io", Role::View).await;
    assert!(matches!(add, Err(AccountError::NoSuchUser)));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_session_ends_by_signing_out_and_by_age(db: PgPool) {
    let stage = Stage::new(db).await;
    stage.member("acme", "ada@x.io", Role::View).await;
    let platform = stage.platform();
    let sign_in = || {
        service::sign_in(
            platform,
            &stage.app.sign_ins,
            attempt("ada@x.io", PASSWORD, TokenContext::Session),
        )
    };
    let first = sign_in().await.unwrap().unwrap().secret.text();
    let second = sign_in().await.unwrap().unwrap().secret.text();
    assert!(service::viewer_of_api_token(platform, &first).await.unwrap().is_none());
    service::sign_out(platform, &first).await.unwrap();
    assert!(service::viewer_of_session(platform, &first).await.unwrap().is_none());
    assert!(service::viewer_of_session(platform, &second).await.unwrap().is_some());
    platform.clock.advance(SESSION_LIFETIME);
    assert!(service::viewer_of_session(platform, &second).await.unwrap().is_none());
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_new_password_ends_tokens_and_sessions(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.member("acme", "ada@x.io", Role::View).await;
    let token = stage.token(&viewer).await;
    let new = Zeroizing::new("another long password".to_owned());
    service::set_password(stage.platform(), "ada@x.io", new).await.unwrap();
    assert_eq!(stage.get(&token, "/api/users/me").await.status, 401);
    let old = attempt("ada@x.io", PASSWORD, TokenContext::Api);
    assert!(
        service::sign_in(stage.platform(), &stage.app.sign_ins, old)
            .await
            .unwrap()
            .is_none()
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn login_gives_a_token_that_says_who_i_am(db: PgPool) {
    let stage = Stage::new(db).await;
    stage.member("acme", "ada@x.io", Role::View).await;
    for path in ["/api/users/login", "/api/users/auth"] {
        let body = json!({"email": "ada@x.io", "password": PASSWORD, "note": "laptop"});
        let answer = stage.call(None, TestRequest::post().uri(path).set_json(body)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.data()["name"], "Ada");
        let token = answer.data()["token"].as_str().unwrap().to_owned();
        let me = stage.get(&token, "/api/users/me").await;
        assert_eq!(me.json(), json!({"data": {"name": "Ada", "email": "ada@x.io"}}));
        let bearer = TestRequest::get()
            .uri("/api/users/me")
            .insert_header(("authorization", format!("BEARER {token} x")));
        assert_eq!(stage.call(None, bearer).await.status, 200);
    }
    let form = [("email", "ada@x.io"), ("password", PASSWORD)];
    let answer = stage
        .call(None, TestRequest::post().uri("/api/users/login").set_form(form))
        .await;
    assert_eq!(answer.status, 200);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn wrong_sign_ins_are_401_until_there_are_too_many(db: PgPool) {
    let stage = Stage::new(db).await;
    stage.member("acme", "ada@x.io", Role::View).await;
    let login = |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password });
        stage.call(None, TestRequest::post().uri("/api/users/login").set_json(body))
    };
    assert_eq!(login("nobody@x.io", PASSWORD).await.status, 401);
    for _ in 0..MAX_FAILURES {
        let answer = login("ada@x.io", "wrong password").await;
        assert_eq!(answer.status, 401);
        assert!(answer.detail().starts_with("Authentication failed"));
    }
    assert_eq!(login("ada@x.io", PASSWORD).await.status, 429);
    stage.platform().clock.advance(Duration::minutes(1));
    assert_eq!(login("ada@x.io", PASSWORD).await.status, 200);
    assert_eq!(
        stage
            .call(None, TestRequest::post().uri("/api/users/login"))
            .await
            .status,
        400
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn without_a_token_everything_is_401(db: PgPool) {
    let stage = Stage::new(db).await;
    let random = crate::platform::random::Random::system();
    let unknown = super::TokenSecret::generate(&random).text();
    for token in ["nhu_nonsense", &unknown, ""] {
        for path in ["/api/users/me", "/api/orgs", "/api/orgs/acme/products"] {
            let answer = stage.get(token, path).await;
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.detail(), "Resource Not Found or Authorization Insufficient");
        }
    }
    assert_eq!(stage.get(&unknown, "/api/nothing").await.status, 404);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_cookie_reads_from_the_api_and_does_not_write(db: PgPool) {
    let stage = Stage::new(db).await;
    stage.member("acme", "ada@x.io", Role::Admin).await;
    let attempt = attempt("ada@x.io", PASSWORD, TokenContext::Session);
    let signed_in = service::sign_in(stage.platform(), &stage.app.sign_ins, attempt).await;
    let secret = signed_in.unwrap().unwrap().secret.text();
    let cookie = actix_web::cookie::Cookie::new(SESSION_COOKIE, secret);
    let read = TestRequest::get().uri("/api/users/me").cookie(cookie.clone());
    assert_eq!(stage.call(None, read).await.status, 200);
    let write = TestRequest::post()
        .uri("/api/orgs/acme/products")
        .cookie(cookie)
        .set_json(json!({"name": "kiosk"}));
    assert_eq!(stage.call(None, write).await.status, 401);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn last_use_is_written_at_most_once_a_minute(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (viewer, _) = stage.member("acme", "ada@x.io", Role::View).await;
    let token = stage.token(&viewer).await;
    let last_used = || async {
        let query = "SELECT last_used_at FROM tokens WHERE context = 'api'";
        sqlx::query_scalar::<_, Option<time::OffsetDateTime>>(query)
            .fetch_one(&db)
            .await
            .unwrap()
    };
    let settle = |wanted: time::OffsetDateTime| async move {
        for _ in 0..200 {
            if last_used().await == Some(wanted) {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    };
    let start = stage.platform().clock.now();
    stage.get(&token, "/api/users/me").await;
    assert!(settle(start).await);
    stage.platform().clock.advance(Duration::seconds(59));
    stage.get(&token, "/api/users/me").await;
    assert!(settle(start).await);
    stage.platform().clock.advance(Duration::seconds(1));
    stage.get(&token, "/api/users/me").await;
    assert!(settle(start + Duration::minutes(1)).await);
}
