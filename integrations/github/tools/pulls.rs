use super::{BODY, Label, User, excerpt, login, put};
use crate::github::{
    client::{GitHub, Repository, page},
    repo::Repo,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tercel_sdk::Result;

const DIFF: usize = 60_000;
const PATCH: usize = 8_000;

/// Reads a pull request: title, description, state, branches, changed files and the unified diff.
#[derive(Deserialize, JsonSchema)]
pub struct GetPr {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    /// The number of the pull request.
    number: u64,
}

pub async fn get_pr(github: GitHub, pr: GetPr) -> Result<Value> {
    let repository = github.for_tool(&pr.repo)?;
    let number = pr.number.to_string();
    let pull: Pull = repository.get(&["pulls", &number], &[]).await?.json()?;
    let files = repository.get(&["pulls", &number, "files"], &[("per_page", "100")]).await?;
    let listed: Vec<File> = files.json()?;
    let (diff, diff_note) = diff(&repository, &number).await?;
    let (body, body_note) = excerpt(pull.body.as_deref().unwrap_or_default(), BODY);
    let mut answer = json!({
        "number": pull.number,
        "title": pull.title,
        "state": if pull.merged { "merged" } else { &pull.state },
        "draft": pull.draft,
        "author": login(&pull.user),
        "base": pull.base.label,
        "head": pull.head.label,
        "head_sha": pull.head.sha,
        "labels": pull.labels.iter().map(|label| &label.name).collect::<Vec<_>>(),
        "created_at": pull.created_at,
        "commits": pull.commits,
        "additions": pull.additions,
        "deletions": pull.deletions,
        "changed_files": pull.changed_files,
        "url": pull.html_url,
        "body": body,
        "files": listed.iter().map(File::summary).collect::<Vec<_>>(),
        "diff": diff,
    });
    let more = page(&files, "next").map(|_| "only the first 100 files; see github_list_pr_files".to_owned());
    put(&mut answer, "body_note", body_note);
    put(&mut answer, "files_note", more);
    put(&mut answer, "diff_note", diff_note);
    Ok(answer)
}

async fn diff(repository: &Repository<'_>, number: &str) -> Result<(Option<String>, Option<String>)> {
    match repository.get_diff(&["pulls", number]).await {
        Ok(answer) => {
            let (diff, note) = excerpt(&answer.text(), DIFF);
            Ok((Some(diff), note.map(|note| format!("{note}; see github_list_pr_files for the rest"))))
        }
        // GitHub makes no diff of more than 300 files or 20,000 lines.
        Err(error) if matches!(error.status, Some(406 | 422)) => {
            Ok((None, Some("too large for a diff; see github_list_pr_files".into())))
        }
        Err(error) => Err(error),
    }
}

/// Lists the changed files of a pull request with their patches, 20 files at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListPrFiles {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    /// The number of the pull request.
    number: u64,
    /// The page to read, from 1.
    #[serde(default)]
    page: Option<u32>,
}

pub async fn list_pr_files(github: GitHub, list: ListPrFiles) -> Result<Value> {
    let (number, current) = (list.number.to_string(), list.page.unwrap_or(1).max(1).to_string());
    let answer = github
        .for_tool(&list.repo)?
        .get(&["pulls", &number, "files"], &[("per_page", "20"), ("page", &current)])
        .await?;
    let files: Vec<File> = answer.json()?;
    Ok(json!({
        "files": files.iter().map(File::with_patch).collect::<Vec<_>>(),
        "next_page": page(&answer, "next"),
    }))
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    title: String,
    state: String,
    html_url: String,
    created_at: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    merged: bool,
    base: Branch,
    head: Branch,
    commits: u64,
    additions: u64,
    deletions: u64,
    changed_files: u64,
}

#[derive(Deserialize)]
struct Branch {
    #[serde(default)]
    label: Option<String>,
    sha: String,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    status: String,
    additions: u64,
    deletions: u64,
    #[serde(default)]
    previous_filename: Option<String>,
    #[serde(default)]
    patch: Option<String>,
}

impl File {
    fn summary(&self) -> Value {
        let mut summary = json!({
            "path": self.filename,
            "status": self.status,
            "additions": self.additions,
            "deletions": self.deletions,
        });
        put(&mut summary, "previous_path", self.previous_filename.clone());
        summary
    }

    fn with_patch(&self) -> Value {
        let mut file = self.summary();
        let (patch, note) = match &self.patch {
            Some(patch) => {
                let (patch, note) = excerpt(patch, PATCH);
                (Some(patch), note)
            }
            None => (None, Some("binary, or too large for GitHub to show".into())),
        };
        put(&mut file, "patch", patch);
        put(&mut file, "patch_note", note);
        file
    }
}
