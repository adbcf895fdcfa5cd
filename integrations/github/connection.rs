//! The connection test: is the token good, and whose is it?

use super::{client::GitHub, mark};
use serde::Deserialize;
use tercel_sdk::{Checked, Depth, Error, Kind, Result, Revoked, http::Response};

#[derive(Deserialize)]
struct User {
    login: String,
}

pub async fn check(github: GitHub) -> Result<Checked> {
    match github.get_authenticated(&["user"], &[]).await {
        Ok(answer) => {
            let login = answer.json::<User>()?.login;
            check_own_login(&github, &login)?;
            let message = format!("The token belongs to `{login}`{}{}", expiry(&answer), webhook_warning(&github));
            Ok(Checked { depth: Depth::Auth, account: Some(login), account_id: None, message })
        }
        // The token of an app's installation is no user.
        Err(error) if error.kind == Kind::Forbidden => check_installation(&github).await.map_err(|_| error),
        Err(error) => Err(error),
    }
}

async fn check_installation(github: &GitHub) -> Result<Checked> {
    #[derive(Deserialize)]
    struct Repositories {
        total_count: u64,
    }
    let answer = github.get_authenticated(&["installation", "repositories"], &[("per_page", "1")]).await?;
    let count = answer.json::<Repositories>()?.total_count;
    let login = github.host().optional("bot_login").map(str::to_owned);
    let advice = if login.is_none() { "; set GITHUB_BOT_LOGIN to the app's login, such as `my-app[bot]`" } else { "" };
    let message = format!("The token of an app sees {count} repositories{advice}{}", webhook_warning(github));
    Ok(Checked { depth: Depth::Target, account: login, account_id: None, message })
}

/// Programs may revoke the token of an app's installation, and no other.
pub async fn revoke(github: GitHub) -> Result<Revoked> {
    if !github.host().field("token")?.trim().starts_with("ghs_") {
        return Ok(Revoked::Impossible("delete the token at github.com/settings/tokens".into()));
    }
    github.delete(&["installation", "token"]).await?;
    Ok(Revoked::Done)
}

fn check_own_login(github: &GitHub, login: &str) -> Result<()> {
    match github.host().optional("bot_login") {
        Some(set) if !set.trim().trim_start_matches('@').eq_ignore_ascii_case(login) => {
            Err(Error::schema(format!("GITHUB_BOT_LOGIN is `{set}`, but the token belongs to `{login}`"))
                .hint("Clear GITHUB_BOT_LOGIN: with this token it is known without it"))
        }
        _ => Ok(()),
    }
}

fn expiry(answer: &Response) -> String {
    answer.header("github-authentication-token-expiration").map(|time| format!(" until {time}")).unwrap_or_default()
}

fn webhook_warning(github: &GitHub) -> &'static str {
    match github.host().optional("webhook_secret") {
        Some(_) => "",
        None => "; webhooks are refused until GITHUB_WEBHOOK_SECRET is set",
    }
}

/// The logins that our posts have; asks GitHub when nothing here says so.
pub async fn own_logins(github: &GitHub) -> Result<Vec<String>> {
    let known: Vec<_> = mark::own_logins(github.host()).map(str::to_owned).collect();
    if !known.is_empty() {
        return Ok(known);
    }
    match github.get_authenticated(&["user"], &[]).await {
        Ok(answer) => Ok(vec![answer.json::<User>()?.login]),
        Err(error) if error.kind == Kind::Forbidden => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
