//! What agents write is Markdown; services that show something else get that.

use pulldown_cmark::{Event, Parser, Tag, TagEnd, html::push_html};

/// HTML. What looks like HTML in the text is shown as it is written, and no link runs a script.
pub fn html(text: &str) -> String {
    let harmless = |url: &str| {
        let scheme = url.split([':', '/', '?', '#']).next().unwrap_or_default();
        !url[scheme.len()..].starts_with(':')
            || ["http", "https", "mailto"].contains(&scheme.to_ascii_lowercase().as_str())
    };
    let events = Parser::new(text).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) if !harmless(&dest_url) => {
            Event::Start(Tag::Link { link_type, dest_url: "#".into(), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) if !harmless(&dest_url) => {
            Event::Start(Tag::Image { link_type, dest_url: "#".into(), title, id })
        }
        other => other,
    });
    let mut made = String::new();
    push_html(&mut made, events);
    made.trim_end().to_owned()
}

/// Text without marks. Links are followed by where they lead.
pub fn plain(text: &str) -> String {
    let mut made = String::new();
    let mut links: Vec<(String, usize)> = Vec::new();
    let mut lists: Vec<Option<u64>> = Vec::new();
    for event in Parser::new(text) {
        match event {
            Event::Text(said) | Event::Code(said) | Event::Html(said) | Event::InlineHtml(said) => made.push_str(&said),
            Event::SoftBreak | Event::HardBreak => made.push('\n'),
            Event::Rule => made.push_str("\n\n"),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push((dest_url.into_string(), made.len()));
            }
            Event::End(TagEnd::Link | TagEnd::Image) => {
                if let Some((url, from)) = links.pop()
                    && made[from..] != url
                    && !url.is_empty()
                {
                    made.push_str(&format!(" ({url})"));
                }
            }
            Event::Start(Tag::List(first)) => {
                if !lists.is_empty() {
                    made.push('\n');
                }
                lists.push(first);
            }
            Event::End(TagEnd::List(_)) => {
                lists.pop();
                if lists.is_empty() {
                    made.push('\n');
                }
            }
            Event::Start(Tag::Item) => {
                let depth = lists.len().saturating_sub(1);
                made.push_str(&"  ".repeat(depth));
                match lists.last_mut() {
                    Some(Some(number)) => {
                        made.push_str(&format!("{number}. "));
                        *number += 1;
                    }
                    _ => made.push_str("- "),
                }
            }
            Event::End(TagEnd::Item) if !made.ends_with('\n') => made.push('\n'),
            Event::End(TagEnd::Paragraph | TagEnd::Heading(_)) => {
                made.push_str(if lists.is_empty() { "\n\n" } else { "\n" });
            }
            Event::End(TagEnd::CodeBlock | TagEnd::BlockQuote(_)) => made.push('\n'),
            _ => {}
        }
    }
    made.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "# Done\n\nSee *this* [page](https://a.example/x) and `code`.\n\n- one\n- two\n\n1. first\n2. second\n\n```rs\nlet x;\n```\n";

    #[test]
    fn marks_are_gone_and_nothing_else() {
        let expected =
            "Done\n\nSee this page (https://a.example/x) and code.\n\n- one\n- two\n\n1. first\n2. second\n\nlet x;";
        assert_eq!(plain(SAID), expected);
        assert_eq!(plain("no marks"), "no marks");
        assert_eq!(plain("<https://a.example>"), "https://a.example");
    }

    #[test]
    fn html_shows_what_looks_like_it_and_runs_nothing() {
        assert_eq!(html("**a** <script>x</script>"), "<p><strong>a</strong> &lt;script&gt;x&lt;/script&gt;</p>");
        for url in ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x"] {
            assert_eq!(html(&format!("[a]({url})")), "<p><a href=\"#\">a</a></p>", "{url}");
        }
        assert_eq!(html("[a](/x?y=1:2)"), "<p><a href=\"/x?y=1:2\">a</a></p>");
    }
}
