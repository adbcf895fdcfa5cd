//! What a request wants its answer to be like. What cannot be had is refused with the parameter's name, not passed over.

use super::super::error::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use tercel_sdk::chat::{Choice, Format, ToolSpec};

/// As OpenAI has it.
const MOST_STOPS: usize = 4;

/// One, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Stop {
    One(String),
    Many(Vec<String>),
}

impl Stop {
    pub fn checked(&self) -> Result<Vec<String>> {
        let all = match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        };
        match all.len() > MOST_STOPS || all.iter().any(|stop| stop.trim().is_empty()) {
            true => {
                Err(Error::bad_request(format!("stop: at most {MOST_STOPS} are taken, none of them empty or white")))
            }
            false => Ok(all),
        }
    }
}

/// # Errors
/// For what is no format; whether the model can do it is the model's to say.
pub fn format(given: Option<&Value>) -> Result<Format> {
    let Some(given) = given.filter(|given| !given.is_null()) else { return Ok(Format::Text) };
    match given["type"].as_str() {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => {
            let schema = &given["json_schema"];
            match schema["name"].is_string() && schema["schema"].is_object() {
                true => Ok(Format::Schema(schema.clone())),
                false => Err(Error::bad_request("response_format.json_schema: it has a `name` and a `schema`")),
            }
        }
        _ => Err(Error::bad_request("response_format.type: it is `text`, `json_object` or `json_schema`")),
    }
}

/// None: no tools at all.
pub fn choice(given: Option<&Value>, tools: &[ToolSpec]) -> Result<Option<Choice>> {
    let choice = match given {
        None | Some(Value::Null) => Choice::Auto,
        Some(Value::String(word)) => match word.as_str() {
            "none" => return Ok(None),
            "auto" => Choice::Auto,
            "required" => Choice::Required,
            _ => return Err(Error::bad_request("tool_choice: it is `none`, `auto`, `required` or a function")),
        },
        Some(function) => match (function["type"].as_str(), function["function"]["name"].as_str()) {
            (Some("function"), Some(name)) => Choice::Tool(name.into()),
            _ => return Err(Error::bad_request("tool_choice: it is `none`, `auto`, `required` or a function")),
        },
    };
    match &choice {
        Choice::Required if tools.is_empty() => {
            Err(Error::bad_request("tool_choice: a call can be required only of tools in `tools`"))
        }
        Choice::Tool(name) if tools.iter().all(|tool| tool.name != *name) => {
            Err(Error::bad_request(format!("tool_choice: there is no `{name}` in `tools`")))
        }
        _ => Ok(Some(choice)),
    }
}
