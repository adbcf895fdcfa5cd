//! What is wrong with the file, for whoever writes it.

use crate::{Problem, manifest::FILE};
use serde_saphyr::{Error, Location};

/// An error of the file.
pub fn explain(error: &Error) -> Problem {
    let error = error.without_snippet();
    let message = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("There is no key `{field}` here{}", meant(field, expected.iter().copied()))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is none of {}{}", expected.join(", "), meant(variant, expected.iter().copied()))
        }
        Error::SerdeMissingField { field, .. } => format!("The key `{field}` is missing"),
        other => other.to_string(),
    };
    match error.location() {
        Some(at) => problem(at, &message),
        None => Problem::new(FILE, message),
    }
}

/// `; is `x` meant?`
fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!("; is `{near}` meant?"))
}

/// What is known and most like a word.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &&str| strsim::jaro_winkler(word, known);
    known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

pub fn problem(at: Location, message: &str) -> Problem {
    match u32::try_from(at.line()) {
        Ok(line) if line > 0 => Problem::at(FILE, line, format!("{message} (column {})", at.column())),
        _ => Problem::new(FILE, message),
    }
}
