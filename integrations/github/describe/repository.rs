//! What happened to a repository as a whole.

use super::{
    Told, who,
    words::{TITLE, WORD, abbreviated, count, line, verb_of},
};
use crate::github::payload::Payload;

const MAX_COMMITS: usize = 10;

pub fn push(payload: &Payload) -> Option<Told> {
    let (kind, name) = branch_or_tag(&payload.reference)?;
    let who = who(payload);
    if payload.deleted {
        return Some(Told::new(format!("{who} deleted the {kind} `{name}`."), &payload.repository.html_url));
    }
    let number = payload.commits.len() as u64;
    let sentence = match (payload.created, payload.forced) {
        (true, _) if number == 0 => format!("{who} pushed the new {kind} `{name}`."),
        (true, _) => format!("{who} pushed the new {kind} `{name}` with {}.", count(number, "commit")),
        (_, true) => format!("{who} force-pushed {} to the {kind} `{name}`.", count(number, "commit")),
        _ => format!("{who} pushed {} to the {kind} `{name}`.", count(number, "commit")),
    };
    let mut lines: Vec<_> = payload
        .commits
        .iter()
        .take(MAX_COMMITS)
        .map(|commit| {
            let subject = commit.message.lines().next().unwrap_or_default();
            format!("- {} {}", abbreviated(&commit.id), line(subject, TITLE))
        })
        .collect();
    if payload.commits.len() > MAX_COMMITS {
        lines.push(format!("- and {} more", payload.commits.len() - MAX_COMMITS));
    }
    Some(Told::new(sentence, &payload.compare).detail(lines.join("\n")))
}

fn branch_or_tag(reference: &str) -> Option<(&'static str, String)> {
    if let Some(tag) = reference.strip_prefix("refs/tags/") {
        return Some(("tag", line(tag, TITLE)));
    }
    let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
    (!branch.is_empty()).then(|| ("branch", line(branch, TITLE)))
}

pub fn reference(event: &str, payload: &Payload) -> Option<Told> {
    let (kind, name) = (line(&payload.ref_type, WORD), line(&payload.reference, TITLE));
    if kind.is_empty() || name.is_empty() {
        return None;
    }
    let sentence = format!("{} {event}d the {kind} `{name}`.", who(payload));
    Some(Told::new(sentence, &payload.repository.html_url))
}

pub fn release(payload: &Payload) -> Option<Told> {
    let release = &payload.release;
    let tag = line(&release.tag_name, TITLE);
    if tag.is_empty() {
        return None;
    }
    let kind = if release.prerelease { "pre-release" } else { "release" };
    let title = line(&release.name, TITLE);
    let title = if title.is_empty() || title == tag { String::new() } else { format!(": {title}") };
    let sentence = format!("{} published the {kind} `{tag}`{title}.", who(payload));
    Some(Told::new(sentence, &release.html_url).body(&release.body))
}

pub fn milestone(payload: &Payload) -> Option<Told> {
    let title = line(&payload.milestone.title, TITLE);
    let sentence = format!("{} {} the milestone `{title}`.", who(payload), verb_of(&payload.action));
    (!title.is_empty()).then(|| Told::new(sentence, &payload.milestone.html_url))
}

pub fn workflow_run(payload: &Payload) -> Option<Told> {
    let run = &payload.workflow_run;
    if run.conclusion.is_empty() {
        return None;
    }
    // A workflow without a name has none in its runs either, but GitHub shows its file there.
    let name = [&run.name, &payload.workflow.name].into_iter().find(|name| !name.is_empty());
    let name = name.map_or_else(|| "A workflow".into(), |name| format!("The workflow `{}`", line(name, TITLE)));
    let (branch, result) = (line(&run.head_branch, TITLE), line(&run.conclusion, WORD));
    Some(Told::new(format!("{name} on `{branch}` has completed: {result}."), &run.html_url))
}

pub fn deployment(payload: &Payload) -> Option<Told> {
    let state = line(&payload.deployment_status.state, WORD);
    let environment = line(&payload.deployment.environment, WORD);
    let sentence = format!("The deployment to `{environment}` is now: {state}.");
    (!state.is_empty()).then(|| {
        Told::new(sentence, &payload.deployment_status.target_url).body(&payload.deployment_status.description)
    })
}

pub fn wiki(payload: &Payload) -> Option<Told> {
    let page = payload.pages.first()?;
    let more = match payload.pages.len() - 1 {
        0 => String::new(),
        others => format!(" and {}", count(others as u64, "other page")),
    };
    let (action, title) = (verb_of(&page.action), line(&page.title, TITLE));
    Some(Told::new(format!("{} {action} the wiki page `{title}`{more}.", who(payload)), &page.html_url))
}

pub fn alert(event: &str, payload: &Payload) -> Option<Told> {
    let kind = if event == "dependabot_alert" { "Dependabot" } else { "code scanning" };
    let alert = &payload.alert;
    let summary =
        [&alert.security_advisory.summary, &alert.rule.description].into_iter().find(|text| !text.is_empty())?;
    let sentence = format!("A {kind} alert was {}: {}", verb_of(&payload.action), line(summary, TITLE));
    Some(Told::new(sentence, &alert.html_url))
}

pub fn change(payload: &Payload) -> Told {
    let sentence = format!("{} {} the repository.", who(payload), verb_of(&payload.action));
    Told::new(sentence, &payload.repository.html_url)
}
