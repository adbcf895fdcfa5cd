//! One list for form and settings, made of what a connector class lists and of the variables that code reads.

use crate::{
    Problem, Variable,
    description::{Description, FieldOf},
    worker::is_reserved,
};
use serde_json::Value;
use std::time::Duration;
use tercel_sdk::{Field, field::FieldType};

pub fn fields(id: &str, described: &Description, problems: &mut Vec<Problem>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for field in described.fields.iter().filter(|field| !field.key.is_empty()) {
        let field = with_variable(of_form(id, field), &described.variables);
        if fields.iter().any(|other| other.key == field.key) {
            problems
                .push(Problem::new("", format!("There are two fields with the key `{}`; the first counts", field.key)));
        } else {
            fields.push(field);
        }
    }
    for variable in &described.variables {
        if is_reserved(&variable.key) {
            let message = format!("`{}` is a name that the server sets itself: it cannot be a setting", variable.key);
            problems.push(Problem::new("", message));
        } else if !fields.iter().any(|field| field.env == variable.key) {
            let mut field = of_variable(id, variable);
            let is_taken = |key: &str| fields.iter().any(|other| other.key == key);
            if is_taken(&field.key) {
                field.key = variable.key.to_lowercase();
            }
            while is_taken(&field.key) {
                field.key.push('_');
            }
            fields.push(field);
        }
    }
    fields
}

/// The fields alone, when what is wrong with them is told elsewhere.
pub fn list(id: &str, described: &Description) -> Vec<Field> {
    fields(id, described, &mut Vec::new())
}

/// The environment name of a field.
pub fn name(id: &str, key: &str) -> String {
    format!("{id}_{key}").to_uppercase()
}

/// A field of a form, for what it says itself.
pub fn of_form(id: &str, field: &FieldOf) -> Field {
    let kind = match field.kind.as_str() {
        "password" => FieldType::Password,
        "url" => FieldType::Url,
        "checkbox" => FieldType::Checkbox,
        "number" => FieldType::Number,
        _ => FieldType::Text,
    };
    Field {
        key: field.key.clone(),
        env: field.env.clone().unwrap_or_else(|| name(id, &field.key)),
        label: if field.label.is_empty() { field.key.clone() } else { field.label.clone() },
        kind,
        required: field.required,
        secret: field.secret.unwrap_or(kind == FieldType::Password),
        default: field.default.as_ref().and_then(text),
        placeholder: field.placeholder.clone(),
        help: field.help.clone(),
        options: field.options.clone(),
        pattern: field.pattern.clone(),
        multiline: field.multiline,
        generate: field.generate,
        rotate: field.rotate.map(Duration::from_secs),
    }
}

/// The variable of the same name says the rest.
fn with_variable(mut field: Field, variables: &[Variable]) -> Field {
    if let Some(variable) = variables.iter().find(|variable| variable.key == field.env) {
        field.required |= variable.required;
        field.secret |= variable.secret;
        field.default = field.default.or_else(|| variable.default.clone());
    }
    field
}

fn of_variable(id: &str, variable: &Variable) -> Field {
    let prefix = format!("{}_", id.to_uppercase());
    let key = variable.key.strip_prefix(&prefix).filter(|rest| !rest.is_empty()).unwrap_or(&variable.key);
    let made = match variable.secret {
        true => Field::password(&key.to_lowercase(), &variable.key),
        false => Field::text(&key.to_lowercase(), &variable.key),
    };
    Field {
        env: variable.key.clone(),
        required: variable.required,
        default: variable.default.clone().filter(|default| !default.is_empty()),
        help: variable.description.clone(),
        ..made
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(described: Value) -> (Vec<(String, String, bool, bool)>, usize) {
        let described: Description = serde_json::from_value(described).unwrap();
        let mut problems = Vec::new();
        let fields = fields("crm", &described, &mut problems);
        let plain = fields.into_iter().map(|field| (field.key, field.env, field.secret, field.required));
        (plain.collect(), problems.len())
    }

    fn field(key: &str, env: &str, secret: bool, required: bool) -> (String, String, bool, bool) {
        (key.into(), env.into(), secret, required)
    }

    #[test]
    fn a_field_and_a_variable_of_one_name_are_one_setting() {
        let (fields, problems) = check(json!({
            "fields": [{"key": "token", "label": "Token", "type": "password"}],
            "variables": [{"key": "CRM_TOKEN", "required": true}, {"key": "CRM_URL"}, {"key": "TZ"}],
        }));
        let expected = [
            field("token", "CRM_TOKEN", true, true),
            field("url", "CRM_URL", false, false),
            field("tz", "TZ", false, false),
        ];
        assert_eq!((fields, problems), (expected.into(), 0));
    }

    #[test]
    fn what_the_server_sets_is_no_setting() {
        let variables = ["PATH", "LD_PRELOAD", "PYTHONPATH", "TERCEL_DATA_DIR", "AGENT_API_KEY"];
        let variables: Vec<Value> = variables.iter().map(|key| json!({"key": key})).collect();
        assert_eq!(check(json!({ "variables": variables })), (Vec::new(), 5));
    }

    #[test]
    fn two_variables_have_two_keys() {
        let (fields, _) = check(json!({"variables": [{"key": "CRM_URL"}, {"key": "URL"}]}));
        assert_eq!(fields.iter().map(|field| field.0.as_str()).collect::<Vec<_>>(), ["url", "url_"]);
    }
}
