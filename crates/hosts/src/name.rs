//! What an integration may be called.

const LONGEST: usize = 64;

/// # Errors
/// A sentence that says what is wrong with the name and what would do.
pub fn check(name: &str) -> Result<(), String> {
    let fits = name.len() <= LONGEST
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if fits {
        return Ok(());
    }
    let rule = format!(
        "`{name}` cannot be the name of an integration: it begins with a lower-case letter and has lower-case letters, \
         digits and `_`, at most {LONGEST} in all"
    );
    let better = name.to_ascii_lowercase().replace(['-', ' ', '.'], "_");
    if better != name && check(&better).is_ok() { Err(format!("{rule}; call it `{better}`")) } else { Err(rule) }
}

/// The nearest name to what a directory is called, if there is one.
pub fn made_of(text: &str) -> Option<String> {
    let letters: String =
        text.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name: String = letters.trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(LONGEST).collect();
    check(&name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["a", "crm", "crm_2", &"a".repeat(64)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "2crm", "_crm", "Crm", "crm-2", "crm.x", "crm/x", "größe", "..", &"a".repeat(65)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_wrote_a_hyphen_is_told_what_would_do() {
        assert!(check("my-crm").unwrap_err().ends_with("call it `my_crm`"));
        assert!(!check("größe").unwrap_err().contains("call it"));
    }

    #[test]
    fn a_directory_gives_a_name() {
        assert_eq!(made_of("My-Tools 2").as_deref(), Some("my_tools_2"));
        assert_eq!(made_of("01-tools").as_deref(), Some("tools"));
        assert_eq!(made_of("…"), None);
    }
}
