//! GitHub: reviews pull requests, triages issues, answers comments.

mod brief;
mod client;
mod connection;
mod describe;
mod dispatcher;
mod failure;
mod hooks;
mod mark;
mod missed;
mod payload;
mod polling;
mod repo;
mod router;
mod tools;

#[cfg(test)]
mod tests;

use std::time::Duration;
use tercel_sdk::{Field, Integration, dispatcher as dispatches, reads, writes};

pub fn integration() -> Integration {
    Integration::new("github")
        .version("1.0.0")
        .label("GitHub")
        .description("Reviews pull requests, triages issues and answers comments")
        .icon("Code2")
        .field(
            Field::password("token", "Token")
                .placeholder("github_pat_…")
                .help("From github.com/settings/tokens, with write access to issues and pull requests"),
        )
        .field(
            Field::password("webhook_secret", "Webhook secret")
                .help("The same long random text as in the webhook's settings; requests without it are refused")
                .generate()
                .rotate(Duration::from_secs(24 * 3_600)),
        )
        .field(
            Field::text("bot_login", "Own login")
                .placeholder("my-app[bot]")
                .help("Only for the token of a GitHub App, which cannot tell its own name"),
        )
        .field(
            Field::text("bot", "Bot").default("default").help("Answers for repositories that are bound to no channel"),
        )
        .field(
            Field::url("api_url", "API address")
                .default(client::PUBLIC_API)
                .help("GitHub Enterprise Server: https://<host>/api/v3"),
        )
        .field(
            Field::text("poll", "Repositories to ask").placeholder("owner/repo, owner/other").help(
                "Asked each minute what is new, for where no webhook reaches this server; leave it empty otherwise",
            ),
        )
        .field(
            Field::text("reaction", "Reaction while working")
                .default("eyes")
                .help("Shown on the issue, pull request or review comment while a run is at work; `none` for none"),
        )
        .webhook(router::receive)
        .poll("news", polling::EVERY, polling::poll)
        .missed(missed::missed)
        .dispatcher(
            dispatches(dispatcher::comment).find(dispatcher::find).update(dispatcher::update).limit(dispatcher::LIMIT),
        )
        .connector(connection::check)
        .revoke(connection::revoke)
        .on(hooks::begins)
        .on(hooks::has_ended)
        .tool("github_get_pr", reads(tools::pulls::get_pr))
        .tool("github_list_pr_files", reads(tools::pulls::list_pr_files))
        .tool("github_list_review_comments", reads(tools::comments::list_review_comments))
        .tool("github_get_issue", reads(tools::issues::get_issue))
        .tool("github_list_comments", reads(tools::comments::list_comments))
        .tool("github_search_issues", reads(tools::issues::search_issues))
        .tool("github_get_file", reads(tools::files::get_file))
        .tool("github_create_comment", writes(tools::comments::create_comment))
        .tool("github_create_issue", writes(tools::issues::create_issue))
        .skill("github", include_str!("skills/github.md"))
        .readme(include_str!("README.md"))
        .sample("pull_request.opened", include_str!("fixtures/pull_request.opened.json"))
        .sample("issues.opened", include_str!("fixtures/issues.opened.json"))
        .sample("issue_comment.created", include_str!("fixtures/issue_comment.created.json"))
        .sample("pull_request_review.submitted", include_str!("fixtures/pull_request_review.submitted.json"))
        .sample(
            "pull_request_review_comment.created",
            include_str!("fixtures/pull_request_review_comment.created.json"),
        )
        .sample("ping", include_str!("fixtures/ping.json"))
        .exchanges(include_str!("fixtures/api.json"))
}
