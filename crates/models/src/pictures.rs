//! Pictures for models that may not take any: then the text is asked about alone, and both sides are told.

use crate::failure::Refused;
use std::borrow::Cow;
use tercel_sdk::chat::Request;

/// What a model that sees nothing is told in the place of pictures.
const UNSEEN: &str =
    "\n[What was attached here is a picture that you cannot be shown. Say so if the answer depends on it.]";

/// What refusals of pictures speak of.
const SUBJECTS: [&str; 5] = ["image", "vision", "multimodal", "multi-modal", "media"];
/// How servers say that content is text and nothing else.
const NOT_A_TEXT: [&str; 4] = ["content type", "must be a string", "expected a string", "valid string"];
/// How they say that a model takes none, whatever the picture.
const NONE_AT_ALL: [&str; 8] = [
    "not support",
    "unsupported",
    "only supported",
    "support image",
    "support vision",
    "vision capab",
    "not a multimodal",
    "not a multi-modal",
];

/// What is known of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pictures {
    #[default]
    Shown,
    /// The model has none at all.
    NotTaken,
    /// Something was wrong with these: the next ones are tried again.
    NotThese,
}

impl Pictures {
    /// The request as the model shall get it.
    pub fn in_request(self, request: &Request) -> Cow<'_, Request> {
        if self == Self::Shown || !has_pictures(request) {
            return Cow::Borrowed(request);
        }
        let mut request = request.clone();
        for message in request.messages.iter_mut().filter(|message| !message.images.is_empty()) {
            message.images.clear();
            message.content.push_str(UNSEEN);
        }
        Cow::Owned(request)
    }

    /// What to do instead when the pictures of a request may be what was refused.
    pub fn withheld(self, sent: &Request, refused: &Refused) -> Option<Self> {
        // OpenRouter says 404 where none of a model's providers takes pictures.
        if !has_pictures(sent) || !matches!(refused.status, 400 | 404 | 413 | 415 | 422) {
            return None;
        }
        let said = refused.said.to_lowercase();
        let is_about = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if !is_about(&SUBJECTS) && !is_about(&NOT_A_TEXT) && refused.status != 413 {
            return None;
        }
        let has_none = is_about(&NONE_AT_ALL) || is_about(&NOT_A_TEXT);
        Some(if has_none { Self::NotTaken } else { Self::NotThese })
    }

    pub fn next_time(self) -> Self {
        if self == Self::NotThese { Self::Shown } else { self }
    }

    /// For the trace.
    pub fn note(self, request: &Request) -> Option<&'static str> {
        match self {
            _ if !has_pictures(request) => None,
            Self::Shown => None,
            Self::NotTaken => Some("the model takes no pictures: it was asked without them, and told so"),
            Self::NotThese => Some("the provider refused the pictures: the model was asked without them, and told so"),
        }
    }
}

fn has_pictures(request: &Request) -> bool {
    request.messages.iter().any(|message| !message.images.is_empty())
}
