//! XML that services answer, as JSON: elements by their local names, each a list, for there may be several.

use crate::{Error, Result};
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Map, Value};

/// Deeper ones are nobody's answer.
const DEPTH: usize = 64;
const MOST: u32 = 200_000;

/// The root element. `<a x="1"><b>hi</b><b/></a>` is `{"@x": "1", "b": [{"text": "hi"}, {}]}`; prefixes are left out.
///
/// # Errors
/// What is no XML, has a document type (entities can be bombs), is nested too deep or has too many elements.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    let wrong = |what: String| Error::schema(format!("The answer is no XML: {what}"));
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".into()))?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST };
    let document = Document::parse_with_options(text.trim_start_matches('\u{feff}'), options)
        .map_err(|error| wrong(error.to_string()))?;
    element(document.root_element(), 0)
}

fn element(node: Node, depth: usize) -> Result<Value> {
    if depth > DEPTH {
        return Err(Error::schema(format!("The answer is XML that is nested deeper than {DEPTH} elements")));
    }
    let mut made = Map::new();
    for attribute in node.attributes() {
        made.insert(format!("@{}", attribute.name()), attribute.value().into());
    }
    let text: String = node.children().filter_map(|child| child.is_text().then(|| child.text()).flatten()).collect();
    if !text.trim().is_empty() {
        made.insert("text".into(), text.trim().into());
    }
    for child in node.children().filter(Node::is_element) {
        let list = made.entry(child.tag_name().name()).or_insert_with(|| Value::Array(Vec::new()));
        if !list.is_array() {
            *list = Value::Array(Vec::new());
        }
        list.as_array_mut().expect("it was made one").push(element(child, depth + 1)?);
    }
    Ok(made.into())
}

/// A text that can stand between tags or in an attribute. What XML cannot hold is left out.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' => escaped.push(c),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_ascii_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_are_lists_whatever_their_prefix() {
        let text = r#"<?xml version="1.0"?>
<d:multistatus xmlns:d="DAV:" xmlns:o="x"><d:response><d:href>/a%20b/</d:href><o:size unit="b"> 7 </o:size><d:x/></d:response>
  <response xmlns="DAV:"><href>/b<![CDATA[<&>]]></href></response></d:multistatus>"#;
        assert_eq!(
            parse(text.as_bytes()).unwrap(),
            json!({"response": [
                {"href": [{"text": "/a%20b/"}], "size": [{"@unit": "b", "text": "7"}], "x": [{}]},
                {"href": [{"text": "/b<&>"}]},
            ]})
        );
        assert_eq!(parse(b"<a>t<text>u</text></a>").unwrap(), json!({"text": [{"text": "u"}]}));
    }

    #[test]
    fn what_is_no_xml_or_a_bomb_is_an_error() {
        let bomb = r#"<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>"#;
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        for text in ["", "{}", "<a>", "<a><b></a>", "<a>\u{0}</a>", bomb, deep.as_str()] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().kind, crate::Kind::Schema, "{text}");
        }
        parse(b"<a>\xff</a>").unwrap_err();
    }

    #[test]
    fn whatever_is_escaped_comes_back_as_it_was() {
        let text = "a<b>&\"c\"'d'\u{1f389}]]>\r\n&amp;";
        let read = parse(format!("<a x=\"{}\">{0}</a>", escape(text)).as_bytes()).unwrap();
        assert_eq!((read["text"].as_str(), escape("a\u{0}\u{1b}b").as_str()), (Some(text), "ab"));
    }
}
