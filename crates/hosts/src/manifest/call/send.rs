//! Sending a request, again where that does no harm, and saying what an answer means.

use super::{Action, Answer, Meaning, Service, action::Filled};
use crate::manifest::{keys::Per, template::Scope};
use std::time::Duration;
use tercel_sdk::{
    Error, Host, Kind, Result,
    http::{Response, reads},
    text::cut,
};
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 500 });
/// Whoever wants to be left alone for longer is asked again by others.
const LONGEST: Duration = Duration::from_secs(20);

impl Service {
    /// # Errors
    /// What the service says no with, by the manifest's `ok` and `errors`, else by the status.
    pub async fn send(&self, host: &Host, filled: &Filled, action: &Action, scope: &Scope) -> Result<Answer> {
        let until = host.deadline().map(Instant::from_std);
        let (mut attempt, mut is_renewed) = (1, false);
        loop {
            let error = match self.once(host, filled, until).await {
                Ok((answer, token)) => match (self.verdict(&answer, action, scope)?, token) {
                    (None, _) => return Ok(answer),
                    // A token may end before its time; with another one the service may say yes.
                    (Some(error), Some(token)) if error.kind == Kind::Auth && !is_renewed => {
                        host.token_refused(&token).await;
                        is_renewed = true;
                        continue;
                    }
                    (Some(error), _) => error,
                },
                Err(error) => error,
            };
            let pause = error.retry_after.unwrap_or(PAUSE * 2_u32.pow(attempt - 1));
            let is_late = until.is_some_and(|until| Instant::now() + pause >= until);
            if attempt >= filled.attempts || !may_repeat(filled, &error) || pause > LONGEST || is_late {
                return Err(error);
            }
            attempt += 1;
            tokio::select! {
                () = host.cancelled().cancelled() => return Err(error),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn once(&self, host: &Host, filled: &Filled, until: Option<Instant>) -> Result<(Answer, Option<String>)> {
        if let Some(rate) = self.rate {
            let key = match self.per {
                Per::Host => filled.url.host_str().unwrap_or_default(),
                Per::Connection => host.connection(),
            };
            self.turns.turn(rate, key, until).await?;
        }
        let mut builder = host.http().request(filled.method.clone(), filled.url.as_str());
        if let Some((kind, body)) = &filled.body {
            builder = builder.body(kind, body.clone());
        }
        let mut token = None;
        if let Some(auth) = &self.auth {
            (builder, token) = auth.sign(host, builder).await?;
        }
        for (name, value, secret) in &filled.headers {
            builder = match secret {
                true => builder.secret_header(name.as_str(), value),
                false => builder.header(name.as_str(), value),
            };
        }
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if filled.repeatable {
            builder = builder.repeatable();
        }
        let mut response = builder.send().await?;
        if let Some(token) = &token {
            forget(token, &mut response);
        }
        Ok((Answer::new(response, filled.url.clone()), token))
    }

    /// What an answer says went wrong.
    fn verdict(&self, answer: &Answer, action: &Action, scope: &Scope) -> Result<Option<Error>> {
        let scope = scope.clone().with("response", answer.value());
        let response = answer.response();
        // What cannot be computed says nothing about what happened there.
        let unknown = |error: Error| match response.status.is_success() && !response.repeatable {
            true => Error { kind: Kind::UnknownOutcome, ..error },
            false => error,
        };
        if let Some(ok) = action.ok.as_ref().filter(|_| response.status.is_success()) {
            answer.must_be(ok.reads)?;
        }
        let held = action.ok.as_ref().map(|ok| self.engine.holds(ok, &scope)).transpose().map_err(unknown)?;
        if held == Some(true) {
            return Ok(None);
        }
        if let Some(meaning) = action.otherwise.as_ref().filter(|_| response.status.is_success()) {
            return Ok(Some(self.meant(meaning, answer, &scope)));
        }
        for failure in &self.failures {
            if self.engine.holds(&failure.when, &scope).map_err(unknown)? {
                let error = self.meant(&failure.meaning, answer, &scope);
                let said = || {
                    let seconds = self.engine.text_of(failure.retry_after.as_ref()?, &scope).ok()??;
                    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
                };
                return Ok(Some(error.retry_after(response.retry_after().or_else(said))));
            }
        }
        match response.clone().ok() {
            Err(error) => Ok(Some(error)),
            // It took the request and says that it did not do it.
            Ok(_) if held == Some(false) => Ok(Some(Error::schema(said(answer)).status(response.status.as_u16()))),
            Ok(_) => Ok(None),
        }
    }

    fn meant(&self, meaning: &Meaning, answer: &Answer, scope: &Scope) -> Error {
        let message = meaning.message.as_ref().and_then(|message| self.engine.render(message, scope).ok());
        let message = message.map_or_else(|| said(answer), |message| cut(&message, 500));
        let status = answer.response().status.as_u16();
        Error { hint: meaning.hint.clone(), ..Error::new(meaning.kind, message).status(status) }
    }
}

/// A service may quote the token, which no setting knows as a secret.
fn forget(token: &str, response: &mut Response) {
    if let Some(text) = std::str::from_utf8(&response.body).ok().filter(|text| token.len() >= 8 && text.contains(token))
    {
        response.body = text.replace(token, "***").into();
    }
}

fn said(answer: &Answer) -> String {
    let response = answer.response();
    let said: String = response.text().chars().take(300).collect();
    format!("The service answered {}: {}", response.status.as_u16(), said.trim())
}

/// What did not happen can be asked for again; what may have happened only where that does no harm.
fn may_repeat(filled: &Filled, error: &Error) -> bool {
    let is_harmless = filled.repeatable || reads(&filled.method);
    match error.kind {
        Kind::RateLimited => true,
        Kind::Network => error.status.is_none() || is_harmless,
        Kind::Timeout => is_harmless,
        _ => false,
    }
}
