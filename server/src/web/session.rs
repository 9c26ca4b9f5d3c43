//! The session's cookie. What it opens is known to accounts; here is only how a browser keeps it.

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, CookieBuilder, SameSite};
use time::Duration;

/// The cookie that holds the session's secret.
pub const COOKIE: &str = "muster_session";
/// The cookie that holds the chosen theme; scripts may write it.
pub const THEME: &str = "muster_theme";

/// The secret that the browser sent, if any.
pub fn secret(request: &HttpRequest) -> Option<String> {
    request.cookie(COOKIE).map(|cookie| cookie.value().to_owned())
}

/// A cookie that keeps `secret` for `age`; `secure`: sent over https only.
pub fn keep(secret: String, age: Duration, secure: bool) -> Cookie<'static> {
    cookie(COOKIE, secret, secure).http_only(true).max_age(age).finish()
}

/// A cookie that makes the browser forget the session.
pub fn forget(secure: bool) -> Cookie<'static> {
    cookie(COOKIE, String::new(), secure)
        .http_only(true)
        .max_age(Duration::ZERO)
        .finish()
}

/// A cookie that keeps the chosen theme for a year.
pub fn keep_theme(theme: &str, secure: bool) -> Cookie<'static> {
    cookie(THEME, theme.to_owned(), secure)
        .max_age(Duration::days(365))
        .finish()
}

fn cookie(name: &'static str, value: String, secure: bool) -> CookieBuilder<'static> {
    Cookie::build(name, value)
        .path("/")
        .same_site(SameSite::Lax)
        .secure(secure)
}

#[cfg(test)]
mod tests {
    use super::keep;

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_secure_over_https() {
        let plain = keep("s".to_owned(), time::Duration::DAY, false).to_string();
        let secure = keep("s".to_owned(), time::Duration::DAY, true).to_string();
        assert_eq!(plain, "muster_session=s; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400");
        assert!(secure.contains("Secure"));
    }
}
