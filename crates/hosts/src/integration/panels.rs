//! What a folder adds to the pages of the server: a section of the sidebar, panels of the dashboard, tiers of its actions.
//! One that lacks what it needs is left out and said.

use crate::{Problem, description::Description};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const ICON: &str = "Plug";
/// What an action may ask for.
const TIERS: [&str; 3] = ["free", "paid", "premium"];

pub fn section(described: &Description, problems: &mut Vec<Problem>) -> Option<Value> {
    let mut section = described.sidebar_section.as_ref()?.as_object()?.clone();
    let Some(id) = text(&section, "id") else {
        problems.push(Problem::new("", "sidebar_section: it needs an `id`"));
        return None;
    };
    let mut items = Vec::new();
    for item in section.get("items").and_then(Value::as_array).into_iter().flatten() {
        match item.as_object() {
            Some(item) if text(item, "label").is_some() && text(item, "href").is_some() => {
                items.push(with(item.clone(), &[("icon", ICON)]));
            }
            _ => problems.push(Problem::new("", "sidebar_section: an item needs a `label` and a `href`")),
        }
    }
    if items.is_empty() {
        problems.push(Problem::new("", "sidebar_section: it needs `items`, a list of label, href and icon"));
        return None;
    }
    section.insert("items".into(), items.into());
    Some(with(section, &[("title", id.to_uppercase().as_str()), ("icon", ICON)]))
}

pub fn modules(described: &Description, problems: &mut Vec<Problem>) -> Vec<Value> {
    let mut modules: Vec<Value> = Vec::new();
    for module in described.dashboard_modules.iter().filter_map(Value::as_object) {
        let Some(id) = text(module, "id").or_else(|| text(module, "module_id")) else {
            problems.push(Problem::new("", "dashboard_modules: each needs an `id`"));
            continue;
        };
        if modules.iter().any(|other| other["id"] == id.as_str()) {
            problems.push(Problem::new("", format!("dashboard_modules: there are two with the id `{id}`")));
            continue;
        }
        let mut module = module.clone();
        module.insert("id".into(), id.clone().into());
        modules.push(with(module, &[("label", id.as_str()), ("icon", ICON), ("description", "")]));
    }
    modules
}

pub fn features(described: &Description, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let (known, unknown): (BTreeMap<_, _>, BTreeMap<_, _>) =
        described.features.clone().into_iter().partition(|(_, tier)| TIERS.contains(&tier.as_str()));
    for (feature, tier) in unknown {
        let tiers = TIERS.join(", ");
        problems.push(Problem::new("", format!("features: `{feature}` needs one of {tiers}, and not `{tier}`")));
    }
    known
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned).filter(|text| !text.trim().is_empty())
}

fn with(mut object: Map<String, Value>, usual: &[(&str, &str)]) -> Value {
    for (key, value) in usual {
        if text(&object, key).is_none() {
            object.insert((*key).into(), (*value).into());
        }
    }
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn described(value: Value) -> Description {
        serde_json::from_value(value).unwrap()
    }

    fn check<T>(value: Value, read: fn(&Description, &mut Vec<Problem>) -> T) -> (T, usize) {
        let mut problems = Vec::new();
        let read = read(&described(value), &mut problems);
        (read, problems.len())
    }

    #[test]
    fn a_section_has_a_title_and_icons_whether_it_says_so_or_not() {
        let item = json!({"label": "Overview", "href": "/board"});
        let given = json!({"sidebar_section": {"id": "board", "items": [item], "readiness_field": "overview"}});
        let expected = json!({
            "id": "board", "title": "BOARD", "icon": "Plug", "readiness_field": "overview",
            "items": [{"label": "Overview", "href": "/board", "icon": "Plug"}],
        });
        assert_eq!(check(given, section), (Some(expected), 0));
        for (wrong, count) in [
            (json!({"items": [item]}), 1),
            (json!({"id": "board"}), 1),
            (json!({"id": "board", "items": "all"}), 1),
            (json!({"id": "board", "items": [{"label": "a"}]}), 2),
        ] {
            assert_eq!(check(json!({"sidebar_section": wrong}), section), (None, count), "{wrong}");
        }
        assert_eq!(check(json!({"sidebar_section": ["Ellipsis"]}), section), (None, 0));
    }

    #[test]
    fn a_panel_is_known_by_its_id_and_there_is_one_of_each() {
        let given = json!({"dashboard_modules": [
            {"id": "open", "label": "Open deals", "panel": "stat"}, {"module_id": "won"}, {"id": "open"}, {"label": "x"}, "y",
        ]});
        let expected = vec![
            json!({"id": "open", "label": "Open deals", "panel": "stat", "icon": "Plug", "description": ""}),
            json!({"module_id": "won", "id": "won", "label": "won", "icon": "Plug", "description": ""}),
        ];
        assert_eq!(check(given, modules), (expected, 2));
    }

    #[test]
    fn an_action_needs_a_tier_that_there_is() {
        let given = json!({"features": {"board_sync": "paid", "board_pin": "golden"}});
        assert_eq!(check(given, features), (BTreeMap::from([("board_sync".into(), "paid".into())]), 1));
    }
}
