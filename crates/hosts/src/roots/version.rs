//! The version that a folder says it has, read without running anything.

use std::{fs, path::Path};

/// As `integration.yaml` or `__init__.py` says it.
pub fn version(folder: &Path) -> Option<String> {
    let stated = |file: &str, separator: char| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        text.lines().find_map(|line| value(line, separator))
    };
    stated("integration.yaml", ':').or_else(|| stated("__init__.py", '='))
}

/// Of a line such as `version = "1.2"`.
fn value(line: &str, separator: char) -> Option<String> {
    let rest = line.strip_prefix("__version__").or_else(|| line.strip_prefix("version"))?;
    let rest = rest.trim_start().strip_prefix(separator)?;
    let value = rest.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_line_of_its_own() {
        for (line, separator, expected) in [
            ("version: 1.2.0  # the newest", ':', Some("1.2.0")),
            ("version: \"1.2\"", ':', Some("1.2")),
            ("version = '3'", '=', Some("3")),
            ("__version__ = \"0.1\"", '=', Some("0.1")),
            ("  version: 9", ':', None),
            ("versions: 9", ':', None),
            ("version:", ':', None),
        ] {
            assert_eq!(value(line, separator).as_deref(), expected, "{line}");
        }
    }
}
