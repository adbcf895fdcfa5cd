//! What GitHub sends, read leniently: what is missing or of another type is empty, never an error.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, marker::PhantomData};

macro_rules! lenient {
    ($($(#[$doc:meta])* $name:ident { $($(#[$key:meta])* $field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$key])* #[serde(deserialize_with = "lenient")] pub $field: $kind,)*
        }

        impl Lenient for $name {
            fn object<'de, A: MapAccess<'de>>(fields: A) -> Result<Self, A::Error> {
                Self::deserialize(MapAccessDeserializer::new(fields))
            }
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

fn lenient<'de, D: Deserializer<'de>, T: Lenient>(deserializer: D) -> Result<T, D::Error> {
    Any(PhantomData).deserialize(deserializer)
}

/// What is made of a value of each type; of those that a type does not name: nothing.
trait Lenient: Default {
    fn text(_: &str) -> Self {
        Self::default()
    }

    fn number(_: u64) -> Self {
        Self::default()
    }

    fn flag(_: bool) -> Self {
        Self::default()
    }

    fn object<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl Lenient for String {
    fn text(text: &str) -> Self {
        text.into()
    }
}

impl Lenient for u64 {
    fn number(number: u64) -> Self {
        number
    }
}

impl Lenient for bool {
    fn flag(flag: bool) -> Self {
        flag
    }
}

impl<T: Lenient> Lenient for Option<T> {
    fn object<'de, A: MapAccess<'de>>(fields: A) -> Result<Self, A::Error> {
        T::object(fields).map(Some)
    }
}

impl<T: Lenient> Lenient for Vec<T> {
    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut all = Self::new();
        while let Some(item) = items.next_element_seed(Any(PhantomData))? {
            all.push(item);
        }
        Ok(all)
    }
}

/// Takes a value of any type.
struct Any<T>(PhantomData<T>);

impl<'de, T: Lenient> DeserializeSeed<'de> for Any<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Lenient> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<T, E> {
        Ok(T::flag(flag))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::object(fields)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        T::list(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_is_empty_and_harms_no_other() {
        let payload: Payload = serde_json::from_str(
            r#"{"action": 7, "repository": "acme/site", "sender": {"login": {"deep": [[1], {}]}, "type": "Bot"}, "issue": [1, 2],
                "pull_request": {"number": 3, "title": null, "labels": [{"name": "bug"}, 5, {"name": [true]}], "draft": "yes",
                "commits": -1, "additions": 1.5, "head": {"label": "acme:fix", "repo": {"name": "site"}}, "pull_request": {}},
                "commits": {"id": "a"}, "created": true, "forced": 1, "never_heard_of": {"a": [{"b": "c"}]}}"#,
        )
        .unwrap();
        assert_eq!(payload.action, "");
        assert_eq!(payload.repository.full_name, "");
        assert_eq!((payload.sender.login.as_str(), payload.sender.kind.as_str()), ("", "Bot"));
        assert!(payload.issue.is_none() && payload.commits.is_empty());
        assert!(payload.created && !payload.forced);
        let ticket = payload.pull_request.unwrap();
        assert_eq!((ticket.number, ticket.title.as_str(), ticket.head.label.as_str()), (3, "", "acme:fix"));
        assert_eq!(ticket.labels.iter().map(|label| label.name.as_str()).collect::<Vec<_>>(), ["bug", "", ""]);
        assert_eq!((ticket.draft, ticket.commits, ticket.additions), (false, 0, 0));
        assert!(ticket.pull_request.is_some());
    }

    #[test]
    fn what_is_not_json_to_its_end_is_an_error() {
        for text in ["", "{", r#"{"action": "opened""#, r#"{"issue": {"number": 1, "x": [}}"#, r#"{} {}"#] {
            assert!(serde_json::from_str::<Payload>(text).is_err(), "{text}");
        }
    }
}
