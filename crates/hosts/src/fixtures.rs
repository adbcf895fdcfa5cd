//! `fixtures/` of a folder: requests as its service sends them, and answers of its API that were recorded.

use crate::{
    Problem,
    integration::field_list,
    load::has_python,
    manifest,
    recording::{self, recordings},
};
use serde_json::{Value, value::RawValue};
use std::{fs, path::Path};
use tercel_sdk::{
    Field, Verify,
    integration::{Exchange, Sample},
};

const PLACE: &str = "fixtures";
/// In it: the list of recorded answers.
pub const RECORDED: &str = "fixtures/api.json";

#[derive(Debug, Default)]
pub struct Fixtures {
    pub samples: Vec<Sample>,
    pub exchanges: Vec<Exchange>,
    pub problems: Vec<Problem>,
}

impl Fixtures {
    /// What can be read of it; the rest is a problem.
    pub fn read(folder: &Path) -> Self {
        let mut found = Self::default();
        let Ok(entries) = fs::read_dir(folder.join(PLACE)) else { return found };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        for name in names.iter().filter(|name| !name.starts_with(['_', '.'])) {
            let Some(stem) = name.strip_suffix(".json") else { continue };
            let file = format!("{PLACE}/{name}");
            match fs::read_to_string(folder.join(&file)) {
                Ok(text) if file == RECORDED => found.recorded(&text),
                Ok(text) => found.sample(&file, stem, &text),
                Err(error) => found.problems.push(Problem::new(file, format!("cannot be read: {error}"))),
            }
        }
        // What was written by hand counts first.
        let (recorded, problems) = recordings(folder);
        found.exchanges.extend(recording::reads(&recorded));
        found.problems.extend(problems);
        found
    }

    fn recorded(&mut self, text: &str) {
        let list: Vec<&RawValue> = match serde_json::from_str(text) {
            Ok(list) => list,
            Err(error) => {
                let words = format!("This is a list of recorded answers, {{\"path\", \"body\"}}: {}", words(&error));
                return self.problems.push(Problem::at(RECORDED, line(&error), words));
            }
        };
        for entry in list {
            let offset = entry.get().as_ptr() as usize - text.as_ptr() as usize;
            let first = u32::try_from(text[..offset].matches('\n').count()).unwrap_or_default();
            let mut wrong = |line: u32, words: String| self.problems.push(Problem::at(RECORDED, first + line, words));
            match serde_json::from_str::<Exchange>(entry.get()) {
                Err(error) => wrong(line(&error), words(&error)),
                Ok(exchange) if !exchange.path.starts_with('/') => {
                    let words = "`path` is path and query, without the host: it begins with /, not `";
                    wrong(1, format!("{words}{}`", exchange.path));
                }
                Ok(exchange) if !(100..1000).contains(&exchange.status) => {
                    wrong(1, format!("There is no status {}", exchange.status));
                }
                Ok(exchange) => self.exchanges.push(exchange),
            }
        }
    }

    fn sample(&mut self, file: &str, name: &str, text: &str) {
        let json: Value = match serde_json::from_str(text) {
            Ok(json) => json,
            Err(error) => return self.problems.push(Problem::at(file, line(&error), words(&error))),
        };
        let is_whole = json["headers"].is_object() && json.get("body").is_some();
        // Everything else is a body.
        let sample = match is_whole {
            true => serde_json::from_value(json).map(|sample| Sample { name: name.into(), ..sample }),
            false => Ok(Sample { name: name.into(), headers: Default::default(), body: json, sign: None }),
        };
        match sample {
            Err(error) => self.problems.push(Problem::new(file, words(&error))),
            Ok(sample) => {
                if let Some(Err(reason)) = sample.sign.as_ref().map(of_sample) {
                    let before = text.split_once("\"sign\"").map_or("", |(before, _)| before);
                    let line = u32::try_from(before.matches('\n').count() + 1).unwrap_or_default();
                    self.problems.push(Problem::at(file, line, reason));
                }
                self.samples.push(sample);
            }
        }
    }
}

/// How the service signs, and what has the secret.
pub struct Signing {
    pub verify: Verify,
    pub fields: Vec<Field>,
}

/// As the sample says, else as the manifest of the folder does. `None`: nothing that is looked at signs it.
///
/// # Errors
/// What is wrong with how the sample says it.
pub fn signing(id: &str, folder: &Path, sign: Option<&Value>) -> Result<Option<Signing>, String> {
    if let Some(sign) = sign {
        return of_sample(sign);
    }
    let Some(Ok(manifest)) = manifest::read(id, folder, has_python(folder)) else { return Ok(None) };
    let fields = field_list(id, &manifest.description);
    Ok(manifest.extra.verify.map(|verify| Signing { verify, fields }))
}

fn of_sample(sign: &Value) -> Result<Option<Signing>, String> {
    let signature = manifest::signature(sign).map_err(|reason| format!("`sign`: {reason}"))?;
    Ok(signature.map(|(verify, fields)| Signing { verify, fields }))
}

fn line(error: &serde_json::Error) -> u32 {
    u32::try_from(error.line()).unwrap_or_default()
}

/// Without the place, which is said otherwise.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(words, _)| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(files: &[(&str, &str)]) -> Fixtures {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(PLACE)).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(PLACE).join(name), text).unwrap());
        Fixtures::read(folder.path())
    }

    fn problems(name: &str, text: &str) -> Vec<String> {
        read(&[(name, text)]).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn samples_and_answers_are_read_and_the_rest_is_left() {
        let found = read(&[
            ("api.json", r#"[{"path": "/a", "body": 1}, {"method": "POST", "path": "/b", "status": 404, "body": ""}]"#),
            ("b.opened.json", r#"{"headers": {"x": "y"}, "body": 1, "sign": {"bearer": "B_KEY"}}"#),
            ("plain.json", "[1]"),
            ("_draft.json", "{"),
            ("notes.txt", "{"),
        ]);
        assert_eq!(found.problems, []);
        assert_eq!(found.exchanges.iter().map(|one| one.status).collect::<Vec<_>>(), [200, 404]);
        let samples: Vec<_> = found.samples.iter().map(|sample| (sample.name.as_str(), &sample.body)).collect();
        assert_eq!(samples, [("b.opened", &json!(1)), ("plain", &json!([1]))]);
        assert_eq!(read(&[]).samples, []);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let check = |name: &str, text: &str, expected: &str| assert_eq!(problems(name, text), [expected]);
        check(
            "api.json",
            "[\n  {\"path\": \"/a\", \"body\": 1}\n  {}",
            "fixtures/api.json:3: This is a list of recorded answers, {\"path\", \"body\"}: expected `,` or `]`",
        );
        check(
            "api.json",
            "{}",
            "fixtures/api.json:1: This is a list of recorded answers, {\"path\", \"body\"}: invalid type: map, expected a sequence",
        );
        check("api.json", "[\n  {\n  \"path\": \"/a\"\n}\n]", "fixtures/api.json:4: missing field `body`");
        check(
            "api.json",
            "[\n  {\"body\": 1, \"path\": \"/a\"},\n  {\"body\": 1,\n \"pth\": \"/a\"}]",
            "fixtures/api.json:4: unknown field `pth`, expected one of `method`, `path`, `accept`, `status`, `body`",
        );
        check(
            "api.json",
            "[\n  {\"body\": 1, \"path\": \"https://a\"}]",
            "fixtures/api.json:2: `path` is path and query, without the host: it begins with /, not `https://a`",
        );
        check(
            "api.json",
            "[{\"body\": 1, \"path\": \"/a\", \"status\": 2}]",
            "fixtures/api.json:1: There is no status 2",
        );
        check("a.json", "{\"a\":\n}", "fixtures/a.json:2: expected value");
        check(
            "a.json",
            "{\"headers\": {\"a\": 1}, \"body\": 1}",
            "fixtures/a.json: invalid type: integer `1`, expected a string",
        );
        let said = problems("a.json", "{\"headers\": {},\n\"body\": 1,\n\"sign\": {\"rsa\": \"X\"}}");
        assert!(said[0].starts_with("fixtures/a.json:3: `sign`: `rsa` is none of"), "{said:?}");
    }

    #[test]
    fn the_variable_that_has_the_secret_is_known() {
        let signing = of_sample(&json!({"hmac": {"secret": "B_SECRET", "header": "x-sign"}})).unwrap().unwrap();
        assert_eq!(signing.fields.iter().map(|field| field.env.as_str()).collect::<Vec<_>>(), ["B_SECRET"]);
        let signing = of_sample(&json!({"bearer": "API_KEY"})).unwrap().unwrap();
        assert_eq!(signing.fields.iter().map(|field| field.env.as_str()).collect::<Vec<_>>(), ["API_KEY"]);
        assert!(of_sample(&json!({"none": "nobody signs"})).unwrap().is_none());
        assert!(of_sample(&json!("unheard")).is_err());
    }
}
