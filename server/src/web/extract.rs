//! What handlers take out of a request: names in the path, and parameters of body and query.

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Error;

/// How large a body that is not a file may be.
pub const MAX_BODY: usize = 1024 * 1024;
/// Parameters of one query or form.
const MAX_PARAMETERS: usize = 1000;
/// How deep brackets nest.
const MAX_DEPTH: usize = 4;

/// A name in the path, percent-decoded.
///
/// # Errors
/// 404 when the route has no such name or it is not UTF-8.
pub fn name(request: &HttpRequest, parameter: &str) -> Result<String, Error> {
    let raw = request.match_info().get(parameter).ok_or(Error::NotFound)?;
    let name = percent_encoding::percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Error::NotFound)?;
    if name.contains('\0') {
        return Err(Error::NotFound);
    }
    Ok(name.into_owned())
}

/// The address that a request came from.
pub fn address(request: &HttpRequest) -> Option<std::net::IpAddr> {
    request.peer_addr().map(|address| address.ip())
}

/// The parameters of a body: JSON, or a form whose brackets nest (`conditions[version]=…`, `tags[]=…`).
#[derive(Debug, Clone)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = content_type(request).starts_with("application/x-www-form-urlencoded");
        let mut payload = payload.take();
        Box::pin(async move {
            let bytes = read(&mut payload).await?;
            let value = if form { form_value(&bytes)? } else { json_value(&bytes)? };
            Ok(Self(decode(value)?))
        })
    }
}

/// The parameters of a query, brackets nested.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = Error;
    type Future = std::future::Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let value = form_value(request.query_string().as_bytes());
        std::future::ready(value.and_then(decode).map(Self))
    }
}

fn content_type(request: &HttpRequest) -> String {
    let value = request.headers().get(header::CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase()
}

async fn read(payload: &mut Payload) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Error::BadRequest(format!("the body cannot be read: {error}")))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(Error::TooLarge(format!("A body may have {MAX_BODY} bytes.")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn json_value(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(bytes).map_err(|error| Error::BadRequest(format!("the body is not JSON: {error}")))
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| Error::BadRequest(format!("a parameter has the wrong form: {error}")))
}

/// The pairs of a form as nested objects and lists; every value is a string.
fn form_value(bytes: &[u8]) -> Result<Value, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::BadRequest("the parameters are not UTF-8".to_owned()))?;
    let mut root = Value::Object(Map::new());
    for (count, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if count >= MAX_PARAMETERS {
            return Err(Error::BadRequest("there are too many parameters".to_owned()));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = unescape(key)?;
        put(&mut root, &path(&key)?, unescape(value)?)?;
    }
    Ok(root)
}

fn unescape(text: &str) -> Result<String, Error> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Error::BadRequest("a parameter is not UTF-8".to_owned()))
}

/// `a[b][]` as `a`, `b`, and the empty name of a list.
fn path(key: &str) -> Result<Vec<&str>, Error> {
    let malformed = || Error::BadRequest(format!("the parameter {key} is malformed"));
    let (first, mut rest) = match key.find('[') {
        Some(at) => key.split_at(at),
        None => (key, ""),
    };
    let mut names = vec![first];
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[').ok_or_else(malformed)?;
        let (name, after) = inner.split_once(']').ok_or_else(malformed)?;
        names.push(name);
        rest = after;
    }
    if names.len() > MAX_DEPTH {
        return Err(malformed());
    }
    Ok(names)
}

fn put(at: &mut Value, path: &[&str], value: String) -> Result<(), Error> {
    let mixed = || Error::BadRequest("the same parameter is given in two forms".to_owned());
    let Some((name, rest)) = path.split_first() else {
        *at = Value::String(value);
        return Ok(());
    };
    if name.is_empty() && rest.is_empty() {
        if at.is_null() {
            *at = Value::Array(Vec::new());
        }
        at.as_array_mut().ok_or_else(mixed)?.push(Value::String(value));
        return Ok(());
    }
    if at.is_null() {
        *at = Value::Object(Map::new());
    }
    let object = at.as_object_mut().ok_or_else(mixed)?;
    put(object.entry(*name).or_insert(Value::Null), rest, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn brackets_of_a_form_nest() {
        let value =
            form_value(b"name=a+b&conditions[version]=%3E%3D+1.0&conditions[tags][]=x&conditions[tags][]=y").unwrap();
        assert_eq!(
            value,
            json!({"name": "a b", "conditions": {"version": ">= 1.0", "tags": ["x", "y"]}})
        );
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for bad in ["a[b=1", "a[b]c=1", "a[b][c][d][e]=1", "a=%ff", "a=1&a[b]=2"] {
            assert!(form_value(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_body_is_an_empty_object() {
        assert_eq!(json_value(b" \n").unwrap(), json!({}));
        assert!(json_value(b"{").is_err());
    }
}
