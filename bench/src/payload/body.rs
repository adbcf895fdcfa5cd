//! What GitHub says about a pull request: `@id@`, `@number@` and `@repository@` are left open.

use serde_json::{Map, Value, json};

pub fn small(action: &str) -> Value {
    let account = json!({"login": "octocat", "id": 583_231, "type": "User"});
    let side = |branch: &str| json!({"label": format!("bench:{branch}"), "ref": branch, "sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821"});
    json!({
        "action": action,
        "number": "@number@",
        "pull_request": {
            "id": "@id@", "number": "@number@", "state": "open", "locked": false, "draft": false, "merged": false,
            "title": "Say hello to everybody in the room", "user": account, "body": DESCRIPTION,
            "html_url": "https://github.com/@repository@/pull/@number@",
            "diff_url": "https://github.com/@repository@/pull/@number@.diff",
            "created_at": "2026-01-05T10:00:00Z", "updated_at": "2026-01-05T10:00:00Z", "closed_at": null, "merged_at": null,
            "merge_commit_sha": null, "author_association": "OWNER", "assignees": [], "requested_reviewers": [account],
            "head": side("greetings"), "base": side("main"), "labels": [], "commits": 1, "additions": 12, "deletions": 3,
            "changed_files": 2,
        },
        "repository": {
            "id": 1_296_269, "name": "repository", "full_name": "@repository@", "private": false, "owner": account,
            "html_url": "https://github.com/@repository@", "default_branch": "main",
        },
        "sender": account,
    })
}

/// With all the addresses that GitHub repeats in every account and repository.
pub fn real(action: &str) -> Value {
    let api = "https://api.github.com/repos/@repository@";
    let side = |branch: &str| {
        json!({
            "label": format!("bench:{branch}"), "ref": branch, "sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821",
            "user": account(), "repo": repository(),
        })
    };
    let links: Map<String, Value> =
        ["self", "html", "issue", "comments", "review_comments", "review_comment", "commits", "statuses"]
            .into_iter()
            .map(|name| (name.to_owned(), json!({"href": format!("{api}/pulls/@number@/{name}")})))
            .collect();
    let mut pull_request = json!({
        "url": format!("{api}/pulls/@number@"), "id": "@id@", "node_id": "MDExOlB1bGxSZXF1ZXN0Mjc5MTQ3NDM3",
        "html_url": "https://github.com/@repository@/pull/@number@",
        "diff_url": "https://github.com/@repository@/pull/@number@.diff",
        "patch_url": "https://github.com/@repository@/pull/@number@.patch",
        "issue_url": format!("{api}/issues/@number@"), "number": "@number@", "state": "open", "locked": false,
        "title": "Say hello to everybody in the room", "user": account(), "body": DESCRIPTION,
        "created_at": "2026-01-05T10:00:00Z", "updated_at": "2026-01-05T10:00:00Z", "closed_at": null, "merged_at": null,
        "merge_commit_sha": null, "assignee": account(), "assignees": [account()], "requested_reviewers": [account()],
        "requested_teams": [], "labels": [
            {"id": 1_362_934_389, "node_id": "MDU6TGFiZWwxMzYyOTM0Mzg5", "url": format!("{api}/labels/bug"), "name": "bug", "color": "d73a4a", "default": true, "description": "Something isn't working"},
        ]
    });
    let more = json!({
        "milestone": null, "commits_url": format!("{api}/pulls/@number@/commits"),
        "review_comments_url": format!("{api}/pulls/@number@/comments"),
        "review_comment_url": format!("{api}/pulls/comments{{/number}}"),
        "comments_url": format!("{api}/issues/@number@/comments"),
        "statuses_url": format!("{api}/statuses/ec26c3e57ca3a959ca5aad62de7213c562f8c821"),
        "head": side("greetings"), "base": side("main"), "_links": links, "author_association": "OWNER", "draft": false,
        "merged": false, "mergeable": null, "rebaseable": null, "mergeable_state": "unknown", "merged_by": null,
        "comments": 0, "review_comments": 0, "maintainer_can_modify": false, "commits": 1, "additions": 12,
        "deletions": 3, "changed_files": 2,
    });
    extend(&mut pull_request, more);
    json!({
        "action": action, "number": "@number@", "pull_request": pull_request, "repository": repository(),
        "sender": account(),
    })
}

fn account() -> Value {
    let api = "https://api.github.com/users/octocat";
    let mut account = json!({
        "login": "octocat", "id": 583_231, "node_id": "MDQ6VXNlcjU4MzIzMQ==", "gravatar_id": "", "url": api,
        "avatar_url": "https://avatars.githubusercontent.com/u/583231?v=4", "html_url": "https://github.com/octocat",
        "type": "User", "user_view_type": "public", "site_admin": false,
    });
    for name in OF_ACCOUNTS.split(' ') {
        account[format!("{name}_url")] = format!("{api}/{name}{{/detail}}").into();
    }
    account
}

fn repository() -> Value {
    let api = "https://api.github.com/repos/@repository@";
    let mut repository = json!({
        "id": 1_296_269, "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5", "name": "repository", "full_name": "@repository@",
        "private": false, "owner": account(), "html_url": "https://github.com/@repository@", "description": "Says hello",
        "fork": false, "url": api, "created_at": "2011-01-26T19:01:12Z", "updated_at": "2026-01-05T09:00:00Z",
        "pushed_at": "2026-01-05T10:00:00Z", "git_url": "git://github.com/@repository@.git",
        "ssh_url": "git@github.com:@repository@.git", "clone_url": "https://github.com/@repository@.git",
        "svn_url": "https://github.com/@repository@", "homepage": null, "size": 180, "stargazers_count": 80,
        "watchers_count": 80, "language": "Rust", "has_issues": true, "has_projects": true, "has_downloads": true,
        "has_wiki": true, "has_pages": false, "has_discussions": false, "forks_count": 9, "mirror_url": null
    });
    let more = json!({
        "archived": false, "disabled": false, "open_issues_count": 2, "license": null, "allow_forking": true,
        "is_template": false, "web_commit_signoff_required": false, "topics": ["greetings", "rooms"],
        "visibility": "public", "forks": 9, "open_issues": 2, "watchers": 80, "default_branch": "main",
        "allow_squash_merge": true, "allow_merge_commit": true, "allow_rebase_merge": true, "allow_auto_merge": false,
        "delete_branch_on_merge": false, "allow_update_branch": false, "use_squash_pr_title_as_default": false,
    });
    extend(&mut repository, more);
    for name in OF_REPOSITORIES.split(' ') {
        repository[format!("{name}_url")] = format!("{api}/{name}{{/detail}}").into();
    }
    repository
}

fn extend(object: &mut Value, more: Value) {
    if let (Some(all), Value::Object(more)) = (object.as_object_mut(), more) {
        all.extend(more);
    }
}

const DESCRIPTION: &str = "Greets everybody in the room, not only the one who came in last. The list of people is read once, \
at the door; who comes later is greeted by the next call. Tests cover an empty room and a room with one person in it.\n\nCloses #12.";

const OF_ACCOUNTS: &str = "followers following gists starred subscriptions organizations repos events received_events";

const OF_REPOSITORIES: &str = "forks keys collaborators teams hooks issue_events events assignees branches tags blobs git_tags git_refs \
trees statuses languages stargazers contributors subscribers subscription commits git_commits comments \
issue_comment contents compare merges archive downloads issues pulls milestones notifications labels \
releases deployments";
