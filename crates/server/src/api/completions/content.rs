//! What stands in the messages of a request: text, and pictures.

use super::super::{
    attachments::base64,
    error::{Error, Result},
};
use crate::attachments;
use serde_json::Value;
use tercel_sdk::chat::Image;

#[derive(Default)]
pub struct Content {
    pub text: String,
    pub images: Vec<Image>,
}

/// Content is text, or parts that are text or pictures.
pub fn of(content: &Value, at: usize) -> Result<Content> {
    match content {
        Value::Null => Ok(Content::default()),
        Value::String(text) => Ok(Content { text: text.clone(), images: Vec::new() }),
        Value::Array(parts) => {
            let (mut texts, mut images) = (Vec::new(), Vec::new());
            for part in parts {
                match part["type"].as_str() {
                    Some(kind @ ("text" | "refusal")) => texts.push(part[kind].as_str().unwrap_or_default()),
                    Some("image_url") => images.push(picture(part["image_url"]["url"].as_str(), at)?),
                    kind => {
                        let kind = kind.unwrap_or("without a type");
                        let message = format!("messages[{at}].content: a part is {kind}; text and image_url are taken");
                        return Err(Error::bad_request(message));
                    }
                }
            }
            Ok(Content { text: texts.join("\n"), images })
        }
        _ => Err(Error::bad_request(format!("messages[{at}].content: text or a list of parts is expected"))),
    }
}

fn picture(url: Option<&str>, at: usize) -> Result<Image> {
    let field = format!("messages[{at}].content.image_url");
    let Some(data) = url.filter(|url| url.starts_with("data:")) else {
        let message = format!("{field}: nothing is fetched; send the picture itself as `data:image/png;base64,…`");
        return Err(Error::bad_request(message));
    };
    let bytes = base64(&field, data).map_err(|error| Error::bad_request(error.detail().to_owned()))?;
    let kind = attachments::sniff(&bytes).unwrap_or("of no known type");
    attachments::image(kind, &bytes).map_err(|why| Error::bad_request(format!("{field}: {why}")))
}
