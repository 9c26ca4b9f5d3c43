//! The few pieces of HTML that stand in nearly every template, made in one place.

use askama::filters::HtmlSafe;
use time::OffsetDateTime;

use super::words;

/// HTML that needs no escaping: made here, of what was escaped.
#[derive(Debug, Clone)]
pub struct Markup(String);

impl std::fmt::Display for Markup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// An icon of the file at `url`; it says nothing by itself, so a word stands beside it.
pub fn icon(url: &str, name: &str, size: u8) -> Markup {
    Markup(format!(
        r#"<svg width="{size}" height="{size}" aria-hidden="true"><use href="{}#{}"/></svg>"#,
        escape(url),
        escape(name)
    ))
}

/// A shape and a word, in a tone.
pub fn status(icon: &Markup, tone: &str, word: &str) -> Markup {
    Markup(format!(
        r#"<span class="status {}">{icon}<span class="word">{}</span></span>"#,
        escape(tone),
        escape(word)
    ))
}

/// A time, which the page's script writes in the reader's own way.
pub fn time(at: OffsetDateTime, way: &str) -> Markup {
    let way = if way.is_empty() {
        String::new()
    } else {
        format!(r#" data-as="{way}""#)
    };
    Markup(format!(
        r#"<time datetime="{}"{way}>{}</time>"#,
        words::machine(at),
        words::readable(at)
    ))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{icon, status};

    #[test]
    fn what_is_written_into_markup_is_escaped() {
        let text = status(&icon("/i.svg", "a", 16), "ok", r#"<b>"x"</b>"#).to_string();
        assert!(text.contains("&lt;b&gt;&quot;x&quot;"));
        assert!(!text.contains("<b>"));
    }
}
