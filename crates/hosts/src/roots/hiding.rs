//! Says which of two integrations with one name counts.

use super::{Folder, RootKind, version};
use std::fmt;

/// A folder stands in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    pub id: String,
    by: Side,
    hides: Side,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Side {
    whose: String,
    version: Option<String>,
}

impl Hidden {
    pub(super) fn new(by: &Folder, hides: Option<&Folder>, native: Option<&str>) -> Self {
        let hides = match hides {
            Some(folder) if folder.root.kind == RootKind::Shipped => side("shipped".into(), folder),
            Some(folder) => side(format!("the one in {}", folder.root.path.display()), folder),
            None => Side { whose: "shipped".into(), version: native.map(str::to_owned) },
        };
        Self { id: by.id.clone(), by: side("yours".into(), by), hides }
    }
}

fn side(whose: String, folder: &Folder) -> Side {
    Side { whose, version: version(&folder.path) }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whose)?;
        self.version.iter().try_for_each(|version| write!(f, " {version}"))
    }
}

/// `yours 1.2 hides shipped 1.5`
impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hides {}", self.by, self.hides)
    }
}
