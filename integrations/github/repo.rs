//! The name of a repository, as it may stand in an address.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// `owner/name`. Holds nothing that could lead an address elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Repo {
    owner: String,
    name: String,
}

impl Repo {
    /// The path of something in this repository.
    pub fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["repos", &self.owner, &self.name], rest].concat()
    }

    /// GitHub does not tell names apart by case.
    pub fn is(&self, full_name: &str) -> bool {
        self.to_string().eq_ignore_ascii_case(full_name)
    }
}

impl FromStr for Repo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (owner, name) = text.split_once('/').unwrap_or_default();
        let plain = |text: &str, extra: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
        let owner_fits = (1..=100).contains(&owner.len()) && plain(owner, "-_");
        let name_fits = (1..=100).contains(&name.len()) && plain(name, "-_.") && name != "." && name != "..";
        if owner_fits && name_fits {
            Ok(Self { owner: owner.into(), name: name.into() })
        } else {
            Err("a repository is written `owner/name`, such as `rust-lang/rust`".into())
        }
    }
}

impl TryFrom<String> for Repo {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Repo> for String {
    fn from(repo: Repo) -> Self {
        repo.to_string()
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_github_gives_them_are_taken() {
        for name in ["octo/hello", "Codertocat/Hello-World", "a_company/x.y_z", "o/.github"] {
            assert_eq!(name.parse::<Repo>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn a_name_that_could_change_an_address_is_refused() {
        for name in ["", "octo", "octo/", "/hello", "octo/..", "../octo", "a/b/c", "o/h?x=1", "o/h#x", "o/h%2e", "o/ü"]
        {
            assert!(name.parse::<Repo>().is_err(), "{name}");
        }
    }
}
