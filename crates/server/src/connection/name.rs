//! What connections are called.

use crate::catalog::DEFAULT;

/// How people are told which connection is meant.
pub fn of(integration: &str, connection: &str) -> String {
    match connection {
        DEFAULT => integration.to_owned(),
        other => format!("{integration}/{other}"),
    }
}

/// Integration and connection of what people are told.
pub fn read(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((name, DEFAULT))
}

/// A name stands in addresses and in targets.
///
/// # Errors
/// What is wrong with it.
pub fn check(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    match begins && name.len() <= 64 && name.chars().all(is_allowed) {
        true => Ok(()),
        false => Err(format!(
            "`{name}` cannot be the name of a connection: it begins with a small letter and has small letters, digits, - \
             and _ in it, 64 at the most"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_in_an_address() {
        for good in ["default", "work", "b-2", "a_b", &"a".repeat(64)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "Work", "2b", "a.b", "a/b", "ä", "a b", "..", &"a".repeat(65)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
