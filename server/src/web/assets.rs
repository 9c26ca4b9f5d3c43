//! Styles, scripts and pictures, carried by the binary. Their URLs name their content, so that a browser keeps them for
//! good and never shows an old one.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::http::header::{self, EntityTag, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use rust_embed::Embed;

use super::Error;

#[derive(Embed)]
#[folder = "../static/"]
struct Files;

/// One file, ready to be sent.
struct Asset {
    bytes: Bytes,
    mime: String,
    version: String,
}

static ASSETS: LazyLock<BTreeMap<String, Asset>> = LazyLock::new(|| {
    Files::iter()
        .filter_map(|path| {
            let file = Files::get(&path)?;
            let version: String = file
                .metadata
                .sha256_hash()
                .iter()
                .take(8)
                .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            let mime = mime_guess::from_path(&*path).first_or_octet_stream().to_string();
            let bytes = Bytes::from(file.data.into_owned());
            Some((path.into_owned(), Asset { bytes, mime, version }))
        })
        .collect()
});

/// The URL of a file of static/, as in `css/base.css`.
pub fn url(path: &str) -> String {
    match ASSETS.get(path) {
        Some(asset) => format!("/static/{path}?v={}", asset.version),
        None => format!("/static/{path}"),
    }
}

/// Answers a file. A URL that names the content is kept for good; another one is asked for again by its tag.
pub async fn serve(
    request: HttpRequest,
    path: web::Path<String>,
    tag: web::Header<IfNoneMatch>,
) -> Result<HttpResponse, Error> {
    let asset = ASSETS.get(path.as_str()).ok_or(Error::NotFound)?;
    let etag = EntityTag::new_strong(asset.version.clone());
    let named = request.query_string() == format!("v={}", asset.version);
    let cache = if named {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut answer = if matches(&tag, &etag) {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    answer
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header(header::ETag(etag.clone()));
    if matches(&tag, &etag) {
        return Ok(answer.finish());
    }
    Ok(answer.content_type(asset.mime.as_str()).body(asset.bytes.clone()))
}

fn matches(asked: &IfNoneMatch, etag: &EntityTag) -> bool {
    match asked {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|tag| tag.weak_eq(etag)),
    }
}

#[cfg(test)]
mod tests {
    use super::{ASSETS, url};

    #[test]
    fn a_url_changes_with_the_content_it_names() {
        assert!(url("css/tokens.css").starts_with("/static/css/tokens.css?v="));
        assert_eq!(url("css/none.css"), "/static/css/none.css");
    }

    #[test]
    fn scripts_and_styles_have_the_types_that_browsers_demand() {
        assert!(ASSETS["js/page.js"].mime.contains("javascript"));
        assert_eq!(ASSETS["css/base.css"].mime, "text/css");
        assert_eq!(ASSETS["img/icons.svg"].mime, "image/svg+xml");
    }
}
