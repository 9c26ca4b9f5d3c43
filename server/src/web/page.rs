//! The one gate through which every page leaves: what surrounds it, its headers, and errors as pages.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::{DefaultHeaders, Next};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _};
use askama::Template;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;
use uuid::Uuid;

use super::markup::{self, Markup};
use super::middleware::RequestId;
use super::{Error, assets, csrf, session};

/// What a page of ours may load: only our own files, nothing inline, and nothing may frame it.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers of pages and of the files that they load.
pub fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, CSP))
        .add(("cross-origin-opener-policy", "same-origin"))
}

/// The part of the product that a page belongs to; the rail marks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Products of all orgs.
    Products,
    /// A product's devices.
    Devices,
    /// A product's deployment groups.
    Deployments,
    /// A product's firmware.
    Firmware,
    /// A product's archives.
    Archives,
    /// A product's shared secrets.
    Secrets,
    /// A product's settings.
    Settings,
    /// An org's signing keys.
    Keys,
    /// An org's CA certificates.
    Authorities,
    /// None of them.
    Elsewhere,
}

/// Who looks at the page.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their email address.
    pub email: String,
}

/// A step of the breadcrumb; the last one has no URL.
#[derive(Debug, Clone)]
pub struct Crumb {
    /// What it says.
    pub label: String,
    /// Where it leads.
    pub url: Option<String>,
}

/// The product that a page is about.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its id, by which the page knows its news.
    pub id: Uuid,
}

/// What surrounds a page: rail, breadcrumb, theme, and the token of its forms.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The page's name.
    pub title: String,
    /// The token of its forms.
    pub csrf: String,
    /// `dark`, `light` or `system`.
    pub theme: &'static str,
    /// The path with its query, for what comes back here.
    pub here: String,
    /// Who looks at it.
    pub person: Option<Person>,
    /// The org it is about.
    pub org: Option<String>,
    /// The product it is about.
    pub product: Option<Place>,
    /// What the rail marks.
    pub section: Section,
    /// The breadcrumb.
    pub trail: Vec<Crumb>,
}

impl Frame {
    /// The frame of a page with this name.
    pub fn new(request: &HttpRequest, title: impl Into<String>) -> Self {
        let theme = request.cookie(session::THEME);
        Self {
            title: title.into(),
            csrf: csrf::token(request),
            theme: match theme.as_ref().map(actix_web::cookie::Cookie::value) {
                Some("dark") => "dark",
                Some("light") => "light",
                _ => "system",
            },
            here: request
                .uri()
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            person: None,
            org: None,
            product: None,
            section: Section::Elsewhere,
            trail: Vec::new(),
        }
    }

    /// Looked at by this person.
    #[must_use]
    pub fn seen_by(mut self, name: &str, email: &str) -> Self {
        self.person = Some(Person {
            name: name.to_owned(),
            email: email.to_owned(),
        });
        self
    }

    /// About this org.
    #[must_use]
    pub fn of_org(mut self, org: &str) -> Self {
        self.org = Some(org.to_owned());
        self
    }

    /// About this product of the org named before.
    #[must_use]
    pub fn of_product(mut self, name: &str, id: Uuid) -> Self {
        self.product = Some(Place {
            name: name.to_owned(),
            id,
        });
        self
    }

    /// In this section.
    #[must_use]
    pub fn within(mut self, section: Section) -> Self {
        self.section = section;
        self
    }

    /// With one more step before the page itself in its breadcrumb.
    #[must_use]
    pub fn under(mut self, label: &str, url: String) -> Self {
        self.trail.push(Crumb {
            label: label.to_owned(),
            url: Some(url),
        });
        self
    }

    /// The org's name; empty where the page is about none.
    pub fn org_name(&self) -> &str {
        self.org.as_deref().unwrap_or_default()
    }

    /// The product's name; empty where the page is about none.
    pub fn product_name(&self) -> &str {
        self.product.as_ref().map_or("", |product| product.name.as_str())
    }

    /// A URL below the page's org, its parts escaped.
    pub fn org_url(&self, rest: &str) -> String {
        format!("{}{rest}", path(&["org", self.org_name()]))
    }

    /// A URL below the page's product.
    pub fn product_url(&self, rest: &str) -> String {
        let product = self.product.as_ref().map_or("", |product| product.name.as_str());
        format!(
            "{}{rest}",
            path(&["org", self.org.as_deref().unwrap_or_default(), product])
        )
    }

    /// An icon of 16 px; what it means stands beside it in words.
    pub fn icon(&self, name: &str) -> Markup {
        self.icon_of(name, 16)
    }

    /// An icon of another size.
    pub fn icon_of(&self, name: &str, size: u8) -> Markup {
        markup::icon(&assets::url("img/icons.svg"), name, size)
    }

    /// A state: its shape and its word, in its tone.
    pub fn status(&self, tone: &str, icon: &str, word: impl AsRef<str>) -> Markup {
        markup::status(&self.icon(icon), tone, word.as_ref())
    }

    /// A state, where it is the page's own.
    pub fn badge(&self, tone: &str, icon: &str, word: impl AsRef<str>) -> Markup {
        markup::status(&self.icon(icon), &format!("badge {tone}"), word.as_ref())
    }

    /// A time: relative where it is near.
    pub fn when(&self, at: &OffsetDateTime) -> Markup {
        markup::time(*at, "")
    }

    /// A day.
    pub fn date(&self, at: &OffsetDateTime) -> Markup {
        markup::time(*at, "date")
    }

    /// How long it has been going on.
    pub fn elapsed(&self, since: &OffsetDateTime) -> Markup {
        markup::time(*since, "elapsed")
    }

    /// Whether the rail marks this section.
    pub fn is_in(&self, section: &Section) -> bool {
        self.section == *section
    }

    /// The URL of a file of static/.
    pub fn asset(&self, path: &str) -> String {
        assets::url(path)
    }

    /// The URL of a style sheet.
    pub fn sheet(&self, name: &str) -> String {
        assets::url(&format!("css/{name}.css"))
    }
}

/// A path of these segments, escaped.
pub fn path(segments: &[&str]) -> String {
    segments.iter().fold(String::new(), |path, segment| {
        format!("{path}/{}", utf8_percent_encode(segment, SEGMENT))
    })
}

/// A value for a query string, escaped.
pub fn escape(value: &str) -> String {
    utf8_percent_encode(value, SEGMENT).to_string()
}

/// Answers a page.
///
/// # Errors
/// When it does not render.
pub fn ok(page: &impl Template) -> Result<HttpResponse, Error> {
    answer(StatusCode::OK, page)
}

/// Answers a form that was filled in wrongly.
///
/// # Errors
/// When it does not render.
pub fn invalid(page: &impl Template) -> Result<HttpResponse, Error> {
    answer(StatusCode::UNPROCESSABLE_ENTITY, page)
}

/// Answers what a form did: the browser goes on to `url`.
pub fn see_other(url: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, url))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

fn answer(status: StatusCode, page: &impl Template) -> Result<HttpResponse, Error> {
    let body = page.render().map_err(|error| Error::Internal(error.into()))?;
    Ok(HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .body(body))
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    status: u16,
    sentence: String,
    request_id: Option<String>,
}

/// Turns what failed into a page; who is not signed in is asked to, and comes back. For pages only: the API keeps its JSON.
///
/// # Errors
/// None of its own.
pub async fn errors<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    let Some(error) = response.response().error() else {
        return Ok(response);
    };
    let asked = response.request();
    let answer = match error.as_error::<Error>() {
        Some(Error::Unauthorized(_)) => sign_in(asked),
        Some(error) => error_page(asked, error.status_code(), error.sentence()),
        None => error_page(asked, response.status(), error.to_string()),
    };
    Ok(response.into_response(answer))
}

/// To the sign-in page and back; a part of a page is told by a header, since it would follow a redirect by itself.
fn sign_in(request: &HttpRequest) -> HttpResponse {
    let here = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let next = if request.method().is_safe() { here } else { "/" };
    let url = format!("/sign-in?next={}", escape(next));
    if request.headers().contains_key("hx-request") {
        return HttpResponse::NoContent().insert_header(("hx-redirect", url)).finish();
    }
    see_other(&url)
}

fn error_page(request: &HttpRequest, status: StatusCode, sentence: String) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or("Something failed");
    let id = request.extensions().get::<RequestId>().map(|id| id.0.to_string());
    let page = ErrorPage {
        frame: Frame::new(request, title),
        status: status.as_u16(),
        sentence,
        request_id: id,
    };
    answer(status, &page).unwrap_or_else(|error| error.error_response())
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn names_are_escaped_in_urls() {
        assert_eq!(path(&["org", "acme", "Kiosk 2/é"]), "/org/acme/Kiosk%202%2F%C3%A9");
    }
}
