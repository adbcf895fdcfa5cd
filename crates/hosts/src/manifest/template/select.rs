//! Choosing from lists by something that an item may not have: what is missing is nothing, and no error.

use minijinja::{
    Environment, Error, State, Value,
    value::{Rest, ValueKind},
};

pub fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("selectattr", |state: &mut State, list: Value, attribute: String, test: Rest<Value>| {
        choose(state, &list, &attribute, &test, true)
    });
    environment.add_filter("rejectattr", |state: &mut State, list: Value, attribute: String, test: Rest<Value>| {
        choose(state, &list, &attribute, &test, false)
    });
}

fn choose(state: &mut State, list: &Value, attribute: &str, test: &[Value], kept: bool) -> Result<Vec<Value>, Error> {
    let mut chosen = Vec::new();
    if list.is_undefined() || list.is_none() {
        return Ok(chosen);
    }
    for item in list.try_iter()? {
        let value = found(&item, attribute)?;
        let passes = match test {
            [name, arguments @ ..] => {
                let given: Vec<Value> = std::iter::once(value).chain(arguments.iter().cloned()).collect();
                state.perform_test(name.as_str().unwrap_or_default(), &given)?
            }
            [] => value.is_true(),
        };
        if passes == kept {
            chosen.push(item);
        }
    }
    Ok(chosen)
}

/// `a.0.b`
fn found(item: &Value, path: &str) -> Result<Value, Error> {
    let mut value = item.clone();
    for step in path.split('.') {
        value = match step.parse::<usize>() {
            _ if value.is_undefined() || value.is_none() => return Ok(Value::UNDEFINED),
            Ok(place) if value.kind() == ValueKind::Seq => value.get_item_by_index(place)?,
            _ => value.get_attr(step)?,
        };
    }
    Ok(value)
}
