//! What GitHub sends, read leniently: what is missing or of another type is empty, never an error.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

macro_rules! lenient {
    ($($(#[$doc:meta])* $name:ident { $($(#[$key:meta])* $field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$key])* #[serde(deserialize_with = "lenient")] pub $field: $kind,)*
        }
    )*};
}

lenient! {
    Payload {
        action: String,
        repository: Repository,
        sender: Account,
        pull_request: Option<Ticket>,
        issue: Option<Ticket>,
        discussion: Option<Ticket>,
        comment: Option<Comment>,
        review: Option<Review>,
        label: Named,
        milestone: Milestone,
        assignee: Account,
        requested_reviewer: Account,
        requested_team: Named,
        #[serde(rename = "ref")]
        reference: String,
        ref_type: String,
        created: bool,
        deleted: bool,
        forced: bool,
        compare: String,
        commits: Vec<Commit>,
        release: Release,
        workflow: Named,
        workflow_run: WorkflowRun,
        deployment: Deployment,
        deployment_status: DeploymentStatus,
        pages: Vec<Page>,
        alert: Alert,
    }

    Repository { full_name: String, html_url: String }

    Account {
        login: String,
        #[serde(rename = "type")]
        kind: String,
    }

    Named { name: String }

    Milestone { title: String, html_url: String }

    /// An issue, a pull request or a discussion.
    Ticket {
        number: u64,
        title: String,
        body: String,
        html_url: String,
        user: Account,
        labels: Vec<Named>,
        draft: bool,
        merged: bool,
        head: Branch,
        base: Branch,
        commits: u64,
        additions: u64,
        deletions: u64,
        changed_files: u64,
        /// Only an issue that is a pull request has it.
        pull_request: Option<Link>,
    }

    Link { html_url: String }

    Branch {
        label: String,
        #[serde(rename = "ref")]
        name: String,
    }

    Comment {
        id: u64,
        in_reply_to_id: u64,
        body: String,
        html_url: String,
        user: Account,
        path: String,
        line: u64,
        original_line: u64,
        diff_hunk: String,
        commit_id: String,
    }

    Review { state: String, body: String, html_url: String, user: Account }

    Commit { id: String, message: String }

    Release { tag_name: String, name: String, body: String, html_url: String, prerelease: bool }

    WorkflowRun { name: String, conclusion: String, head_branch: String, html_url: String }

    Deployment { environment: String }

    DeploymentStatus { state: String, description: String, target_url: String }

    Page { title: String, action: String, html_url: String }

    Alert { html_url: String, rule: Rule, security_advisory: Advisory }

    Rule { description: String }

    Advisory { summary: String }
}

/// An issue or a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    PullRequest(u64),
    Issue(u64),
    Discussion(u64),
}

impl Payload {
    /// The issue, pull request or discussion that the event is about.
    pub fn ticket(&self) -> Option<(&Ticket, Place)> {
        let (ticket, place) = if let Some(ticket) = &self.pull_request {
            (ticket, Place::PullRequest(ticket.number))
        } else if let Some(ticket) = &self.issue {
            let is_pull_request = ticket.pull_request.is_some();
            (ticket, if is_pull_request { Place::PullRequest } else { Place::Issue }(ticket.number))
        } else {
            let ticket = self.discussion.as_ref()?;
            (ticket, Place::Discussion(ticket.number))
        };
        (ticket.number > 0).then_some((ticket, place))
    }

    /// Who wrote what the event is about, and what.
    pub fn written(&self) -> (&str, &str) {
        let (author, body) = self.writing();
        let author = if author.login.is_empty() { &self.sender } else { author };
        (&author.login, body)
    }

    pub fn is_written_by_bot(&self) -> bool {
        self.writing().0.kind == "Bot" || self.sender.kind == "Bot"
    }

    fn writing(&self) -> (&Account, &str) {
        if let Some(comment) = &self.comment {
            (&comment.user, &comment.body)
        } else if let Some(review) = &self.review {
            (&review.user, &review.body)
        } else if let Some((ticket, _)) = self.ticket() {
            (&ticket.user, &ticket.body)
        } else {
            (&self.sender, "")
        }
    }
}

/// Passes over a value first and reads it after: passing over is quick, and most of a payload is of no interest.
fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}
