//! Where a redirect leads.

use hyper::Uri;

/// Resolves a `Location` against the URL that answered with it; none where the result is no URL.
pub fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?.as_str();
    let location = location.split('#').next().unwrap_or_default();
    if has_scheme(location) {
        return location.parse().ok();
    }
    let text = match location {
        "" => return Some(base.clone()),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ if location.starts_with('?') => format!("{scheme}://{authority}{}{location}", base.path()),
        _ => {
            let directory = base.path().rfind('/').and_then(|end| base.path().get(..=end));
            format!("{scheme}://{authority}{}{location}", directory.unwrap_or("/"))
        }
    };
    text.parse().ok()
}

fn has_scheme(location: &str) -> bool {
    location
        .split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The URL that a redirected upgrade leads to: the web's schemes are the websocket's (device-link §1.6).
pub fn resolve_upgrade(base: &Uri, location: &str) -> Option<Uri> {
    let target = resolve(base, location)?;
    let scheme = match target.scheme_str()? {
        "https" | "wss" => "wss",
        _ => return None,
    };
    let authority = target.authority()?;
    let path = match target.path() {
        "" => "/",
        path => path,
    };
    let query = match target.query() {
        Some(query) if query.split('&').any(|pair| pair.starts_with("vsn=")) => query.to_owned(),
        Some(query) => format!("{query}&{}", version(base)),
        None => version(base).to_owned(),
    };
    format!("{scheme}://{authority}{path}?{query}").parse().ok()
}

/// The framing that the link speaks stays what it was.
fn version(base: &Uri) -> &str {
    let mut pairs = base.query().unwrap_or_default().split('&');
    pairs.find(|pair| pair.starts_with("vsn=")).unwrap_or("vsn=2.0.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(location: &str) -> String {
        let base = "https://host:8443/a/b?c=d".parse().unwrap();
        resolve(&base, location).unwrap().to_string()
    }

    #[test]
    fn locations_of_every_form_are_resolved() {
        assert_eq!(resolved("http://other/x?y"), "http://other/x?y");
        assert_eq!(resolved("//other/x"), "https://other/x");
        assert_eq!(resolved("/x#part"), "https://host:8443/x");
        assert_eq!(resolved("x?u=http://z"), "https://host:8443/a/x?u=http://z");
        assert_eq!(resolved("?e=f"), "https://host:8443/a/b?e=f");
    }

    #[test]
    fn upgrade_stays_encrypted_and_keeps_its_framing() {
        let base = "wss://host:4001/socket/websocket?vsn=2.0.0".parse().unwrap();
        let target = |location| resolve_upgrade(&base, location).map(|url| url.to_string());
        assert_eq!(target("https://other/s"), Some("wss://other/s?vsn=2.0.0".into()));
        assert_eq!(target("/s?a=b"), Some("wss://host:4001/s?a=b&vsn=2.0.0".into()));
        assert_eq!(target("http://other/s"), None);
        let base = "wss://host:4001/socket/websocket?vsn=3.0.0".parse().unwrap();
        let target = resolve_upgrade(&base, "/s").unwrap();
        assert_eq!(target.to_string(), "wss://host:4001/s?vsn=3.0.0");
    }

    proptest::proptest! {
        #[test]
        fn no_location_panics(location in "\\PC{0,40}") {
            let _ = resolve_upgrade(&"wss://host/socket".parse().unwrap(), &location);
        }
    }
}
