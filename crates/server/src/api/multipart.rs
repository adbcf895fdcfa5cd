//! Files as browsers send them: `multipart/form-data`, whole.

use super::error::{Error, Result};
use bytes::Bytes;

/// Parts of one body.
const MOST: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub name: String,
    /// Only files have one.
    pub filename: Option<String>,
    pub content_type: Option<String>,
    pub bytes: Bytes,
}

/// The boundary of a `Content-Type`, when it is `multipart/form-data`.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| (1..=70).contains(&boundary.len()))
}

/// # Errors
/// Where the body is not what its type says.
pub fn parts(body: &Bytes, boundary: &str) -> Result<Vec<Part>> {
    let wrong = |what: &str| Error::invalid(format!("The body is not valid multipart/form-data: {what}"));
    let line = format!("--{boundary}").into_bytes();
    let mut at = match body.starts_with(&line) {
        true => line.len(),
        false => find(body, &[b"\r\n", &line[..]].concat(), 0)
            .map(|at| at + 2 + line.len())
            .ok_or_else(|| wrong("it does not begin with its boundary"))?,
    };
    let between = [b"\r\n", &line[..]].concat();
    let mut parts = Vec::new();
    loop {
        if body[at..].starts_with(b"--") {
            return Ok(parts);
        }
        if parts.len() == MOST {
            return Err(wrong("it has too many parts"));
        }
        let head = find(body, b"\r\n", at).map(|end| end + 2).ok_or_else(|| wrong("it ends in the middle"))?;
        let body_at = match body[head..].starts_with(b"\r\n") {
            true => head + 2,
            false => find(body, b"\r\n\r\n", head)
                .map(|end| end + 4)
                .ok_or_else(|| wrong("a part has no end of its headers"))?,
        };
        let end = find(body, &between, body_at).ok_or_else(|| wrong("its last boundary is missing"))?;
        let head = std::str::from_utf8(&body[head..body_at]).map_err(|_| wrong("headers are UTF-8"))?;
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let disposition = header("content-disposition").ok_or_else(|| wrong("a part has no Content-Disposition"))?;
        parts.push(Part {
            name: parameter(&disposition, "name").ok_or_else(|| wrong("a part has no name"))?,
            filename: parameter(&disposition, "filename"),
            content_type: header("content-type"),
            bytes: body.slice(body_at..end),
        });
        at = end + between.len();
    }
}

fn find(body: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let finder = |rest: &[u8]| {
        let mut start = 0;
        // By its first byte, which is rare where it matters.
        while let Some(at) = rest[start..].iter().position(|byte| *byte == what[0]) {
            if rest[start + at..].starts_with(what) {
                return Some(start + at);
            }
            start += at + 1;
        }
        None
    };
    finder(body.get(from..)?).map(|at| from + at)
}

/// `key=value` or `key="value"` among parameters that semicolons separate.
fn parameter(text: &str, key: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let is_wanted = name.rsplit(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(key);
        let (value, more) = match after.trim_start().strip_prefix('"') {
            // Browsers write a quote in a name as %22.
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        if is_wanted {
            return Some(value.replace("%22", "\"").trim().to_owned());
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static [u8]) -> std::result::Result<Vec<(String, Option<String>, Bytes)>, ()> {
        let parts = parts(&Bytes::from_static(body), "B").map_err(drop)?;
        Ok(parts.into_iter().map(|part| (part.name, part.filename, part.bytes)).collect())
    }

    #[test]
    fn fields_and_files_are_read_as_browsers_send_them() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"who\"\r\n\r\nalice\r\n\
            --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a; b%22.txt\"\r\nContent-Type: text/plain\r\n\r\n\
            one\r\n--not\r\n\r\n\r\n--B--\r\n";
        let expected = [
            ("who".to_owned(), None, Bytes::from_static(b"alice")),
            ("file".to_owned(), Some("a; b\".txt".to_owned()), Bytes::from_static(b"one\r\n--not\r\n\r\n")),
        ];
        assert_eq!(read(body), Ok(expected.to_vec()));
    }

    #[test]
    fn a_body_that_is_cut_anywhere_is_refused_and_nothing_panics() {
        let body: &'static [u8] =
            b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nbytes\r\n--B--";
        assert!(read(body).is_ok());
        for end in 0..body.len() {
            assert!(read(&body[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_boundary_is_taken_from_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=x1").as_deref(), Some("x1"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(boundary("application/json; boundary=x").as_deref(), None);
        assert_eq!(boundary("multipart/form-data").as_deref(), None);
    }
}
