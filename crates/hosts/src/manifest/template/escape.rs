//! How values are written into texts, by where they stand.

use super::calendar;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, Value,
    value::{Object, ObjectRepr, ValueKind},
};
use percent_encoding::percent_decode_str;
use std::{fmt, sync::Arc};
use tercel_sdk::xml;

/// How a value is made harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// It stays as it is: what it is put into is made harmless as a whole.
    None,
    /// One segment of a path, or one value of a query.
    Segment,
    /// Several segments: slashes stay.
    Path,
    /// Text between tags, or in an attribute.
    Xml,
    /// The value of a property in iCalendar.
    Calendar,
}

/// What texts are escaped for, as the engine knows it.
pub const URL: &str = "url";
pub const XML: &str = "xml";
pub const CALENDAR: &str = "ics";

pub fn encode(text: &str, encoding: Encoding) -> String {
    match encoding {
        Encoding::None => return text.to_owned(),
        Encoding::Xml => return xml::escape(text),
        Encoding::Calendar => return calendar::escape(text),
        Encoding::Segment | Encoding::Path => {}
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                encoded.push(char::from(byte))
            }
            b'/' if encoding == Encoding::Path => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Whether a segment of a path leads elsewhere, however it is written.
pub fn is_dotted(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

/// A value that keeps its slashes in an address.
#[derive(Debug)]
struct Segments(String);

impl Object for Segments {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("path", |value: &Value| -> Result<Value, Error> {
        let text = text(value)?.ok_or_else(missing)?;
        Ok(Value::from_object(Segments(text.trim_start_matches('/').to_owned())))
    });
    environment.add_filter("decode", |value: &Value| -> Result<String, Error> {
        Ok(percent_decode_str(&text(value)?.unwrap_or_default()).decode_utf8_lossy().into_owned())
    });
    // It says where an address comes from; whether it may be called is looked at when it is.
    environment.add_filter("url", |value: Value| value);
}

pub fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if matches!(state.auto_escape(), AutoEscape::None) {
        return match text(value)? {
            Some(text) => Ok(out.write_str(&text)?),
            None => Ok(()),
        };
    }
    let inside = match state.auto_escape() {
        AutoEscape::Custom(kind) if kind == XML => Some(Encoding::Xml),
        AutoEscape::Custom(kind) if kind == CALENDAR => Some(Encoding::Calendar),
        _ => None,
    };
    if let Some(encoding) = inside {
        let text = text(value)?.unwrap_or_default();
        let is_secret = super::secret::is_mark(state, &text);
        return Ok(out.write_str(&encode(&text, if is_secret { Encoding::None } else { encoding }))?);
    }
    if matches!(value.as_object(), Some(object) if object.repr() != ObjectRepr::Plain) {
        return Err(Error::new(ErrorKind::InvalidOperation, "a list or a mapping cannot stand in an address"));
    }
    let text = text(value)?.filter(|text| !text.is_empty()).ok_or_else(missing)?;
    // What stands for a secret is encoded with the secret, once it is there.
    let whole = super::secret::is_mark(state, &text);
    let encoding = match value.downcast_object_ref::<Segments>() {
        Some(_) => Encoding::Path,
        None if whole => Encoding::None,
        None => Encoding::Segment,
    };
    Ok(out.write_str(&encode(&text, encoding))?)
}

/// `None` where there is nothing. Lists and mappings are JSON.
pub fn text(value: &Value) -> Result<Option<String>, Error> {
    if value.is_undefined() || value.is_none() {
        return Ok(None);
    }
    if value.kind() == ValueKind::Bool {
        // As JSON and YAML write it, and not as Python does.
        return Ok(Some(if value.is_true() { "true" } else { "false" }.into()));
    }
    match value.as_object().map(minijinja::value::DynObject::repr) {
        None | Some(ObjectRepr::Plain) => Ok(Some(value.to_string())),
        Some(_) => serde_json::to_string(value)
            .map(Some)
            .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string())),
    }
}

fn missing() -> Error {
    Error::new(ErrorKind::InvalidOperation, "a value of this address is missing or empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_in_an_address_is_left_as_it_is() {
        assert_eq!(encode("a/b?c#d e%\u{e9}\r\n", Encoding::Segment), "a%2Fb%3Fc%23d%20e%25%C3%A9%0D%0A");
        assert_eq!(encode("a/../b", Encoding::Path), "a/../b");
        assert_eq!(encode("{{ x }}", Encoding::None), "{{ x }}");
    }

    #[test]
    fn a_segment_that_leads_elsewhere_is_known_however_it_is_written() {
        for dotted in [".", "..", "%2e", "%2E.", ".%2e", "%2E%2e"] {
            assert!(is_dotted(dotted), "{dotted}");
        }
        for plain in ["", "...", "a", ".a", "%2f", "..."] {
            assert!(!is_dotted(plain), "{plain}");
        }
    }
}
