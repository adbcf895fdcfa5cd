//! The integrations that ship with Tercel. Those that are written in Rust have two lines here; a folder that is written
//! in something else has none: it is found by being there.

use tercel_sdk::Integration;

mod github;

pub fn all() -> Vec<Integration> {
    vec![github::integration()]
}

/// The files of the folders that are not Rust, by their paths below this one.
pub fn folders() -> &'static [(&'static str, &'static [u8])] {
    include!(concat!(env!("OUT_DIR"), "/folders.rs"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn a_folder_that_is_not_rust_is_embedded_as_it_is() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let names = |path: &str| path.split('/').next().unwrap().to_owned();
        let embedded: Vec<String> = folders().iter().map(|(path, _)| names(path)).collect();
        for entry in fs::read_dir(here).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name().into_string().unwrap();
            let is_folder = entry.path().is_dir() && !name.starts_with(['.', '_']) && name != "target";
            let is_rust = entry.path().join("mod.rs").is_file();
            assert_eq!(embedded.contains(&name), is_folder && !is_rust, "{name}");
        }
        assert!(!folders().is_empty());
        for (path, bytes) in folders() {
            assert_eq!(&fs::read(here.join(path)).unwrap(), bytes, "{path}");
            assert!(!path.contains("__pycache__"), "{path}");
        }
    }
}
