//! What a folder keeps for rehearsals: requests as the service sends them, and recorded reads.

use crate::{
    Problem,
    recording::{self, recordings},
};
use std::{fs, path::Path};
use tercel_sdk::integration::{Exchange, Sample};

/// Recorded reads are in `api.json`; every other file is a request.
const READS: &str = "api.json";

pub type Fixtures = (Vec<Sample>, Vec<Exchange>);

pub fn fixtures(code: &Path) -> (Fixtures, Vec<Problem>) {
    let (mut samples, mut exchanges, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    let entries = fs::read_dir(code.join("fixtures")).into_iter().flatten();
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    for name in names.iter().filter(|name| !name.starts_with(['_', '.'])) {
        let Some(stem) = name.strip_suffix(".json") else { continue };
        let file = format!("fixtures/{name}");
        let text = fs::read(code.join(&file)).unwrap_or_default();
        let read = match name == READS {
            true => serde_json::from_slice::<Vec<Exchange>>(&text).map(|list| exchanges.extend(list)),
            false => serde_json::from_slice::<Sample>(&text)
                .map(|sample| samples.push(Sample { name: stem.to_owned(), ..sample })),
        };
        if let Err(error) = read {
            problems.push(Problem::at(file, error.line() as u32, error.to_string()));
        }
    }
    let (recorded, wrong) = recordings(code);
    exchanges.extend(recording::reads(&recorded));
    problems.extend(wrong);
    ((samples, exchanges), problems)
}
