//! Templates and expressions of a manifest. Their source is the manifest's alone: data is never compiled.

pub mod calendar;
mod escape;
mod fill;
mod names;
mod secret;
mod select;
mod signing;

pub use escape::{Encoding, is_dotted};
pub use names::{Names, Reads};
pub use secret::Vault;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, value::Serde};
use serde_json::{Map, Value as Plain};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tercel_sdk::{Error, Result};

pub use minijinja::Value;

/// How much one text may compute: about a hundred thousand steps, or six megabytes.
const FUEL: u64 = 100_000;
/// How deep its values may be nested; JSON has 128 levels at the most.
const DEPTH: usize = 200;
/// Ends the names of templates whose values are escaped for addresses.
const URL: &str = ".url";
/// The same for XML.
const XML: &str = ".xml";
/// The same for calendars.
const CALENDAR: &str = ".ics";

/// The texts of one manifest.
pub struct Engine {
    environment: Environment<'static>,
    sources: Vec<Arc<str>>,
    /// Of templates, by name.
    templates: Arc<Mutex<BTreeMap<String, Arc<str>>>>,
}

/// A text that is filled in.
#[derive(Debug, Clone)]
pub struct Template(usize, String);

/// A value that is computed.
#[derive(Debug, Clone)]
pub struct Expression {
    number: usize,
    pub reads: Reads,
}

/// JSON whose texts are templates.
#[derive(Debug, Clone)]
pub enum Shape {
    Fixed(Plain),
    Text(Template),
    /// A text that is nothing but `{{ x }}` keeps the type of `x`.
    Typed(Expression),
    List(Vec<Shape>),
    Map(Vec<(String, Shape)>),
}

/// The names that a text can use, with their values.
#[derive(Debug, Clone, Default)]
pub struct Scope(BTreeMap<&'static str, Value>);

impl Scope {
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    pub fn with_json(self, name: &'static str, value: &Plain) -> Self {
        self.with(name, Serde(value))
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.insert(name, value.into());
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn value(&self) -> Value {
        Value::from_pairs(self.0.iter().map(|(name, value)| (*name, value.clone())))
    }
}

impl Engine {
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(DEPTH);
        environment.set_auto_escape_callback(|name| match name {
            name if name.ends_with(URL) => AutoEscape::Custom(escape::URL.into()),
            name if name.ends_with(XML) => AutoEscape::Custom(escape::XML.into()),
            name if name.ends_with(CALENDAR) => AutoEscape::Custom(escape::CALENDAR.into()),
            _ => AutoEscape::None,
        });
        environment.set_formatter(escape::format);
        // Nothing in a manifest says that a value needs no escaping.
        for filter in ["safe", "escape", "e", "pprint", "urlencode"] {
            environment.remove_filter(filter);
        }
        environment.remove_global("debug");
        escape::add_to(&mut environment);
        fill::add_to(&mut environment);
        calendar::add_to(&mut environment);
        select::add_to(&mut environment);
        signing::add_to(&mut environment);
        let templates = Arc::<Mutex<BTreeMap<String, Arc<str>>>>::default();
        let all = templates.clone();
        environment.set_loader(move |name| Ok(locked(&all).get(name).map(|source| source.to_string())));
        Self { environment, sources: Vec::new(), templates }
    }

    /// # Errors
    /// In words for whoever writes the manifest.
    pub fn template(&mut self, source: &str, names: &Names) -> Result<Template, Vec<String>> {
        names.check_template(source)?;
        self.add(source, "").map(|(number, name)| Template(number, name))
    }

    /// The same for a part of an address: each value is one segment.
    ///
    /// # Errors
    /// In words for whoever writes the manifest.
    pub fn url(&mut self, source: &str, names: &Names) -> Result<Template, Vec<String>> {
        names.check_template(source)?;
        self.add(source, URL).map(|(number, name)| Template(number, name))
    }

    /// The same for XML: a value is text between tags, or in an attribute.
    ///
    /// # Errors
    /// In words for whoever writes the manifest.
    pub fn xml(&mut self, source: &str, names: &Names) -> Result<Template, Vec<String>> {
        names.check_template(source)?;
        self.add(source, XML).map(|(number, name)| Template(number, name))
    }

    /// The same for a calendar: a value cannot end its line.
    ///
    /// # Errors
    /// In words for whoever writes the manifest.
    pub fn calendar(&mut self, source: &str, names: &Names) -> Result<Template, Vec<String>> {
        names.check_template(source)?;
        self.add(source, CALENDAR).map(|(number, name)| Template(number, name))
    }

    /// # Errors
    /// In words for whoever writes the manifest.
    pub fn expression(&mut self, source: &str, names: &Names) -> Result<Expression, Vec<String>> {
        let reads = names.check_expression(source)?;
        self.environment
            .compile_expression_owned(source.to_owned())
            .map_err(|error| vec![names::words(source, &error)])?;
        self.sources.push(source.into());
        Ok(Expression { number: self.sources.len() - 1, reads })
    }

    /// The expression of a text that is nothing but `{{ x }}`.
    pub fn only(source: &str) -> Option<&str> {
        let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        minijinja::machinery::parse_expr(inner).is_ok().then_some(inner)
    }

    fn add(&mut self, source: &str, kind: &str) -> Result<(usize, String), Vec<String>> {
        let number = self.sources.len();
        let name = format!("{number}{kind}");
        self.environment
            .add_template_owned(name.clone(), source.to_owned())
            .map_err(|error| vec![names::words(source, &error)])?;
        // What was compiled takes some kilobytes each, and most of what ships is used by nobody: it is kept from the first use.
        self.environment.remove_template(&name);
        let source = Arc::<str>::from(source);
        locked(&self.templates).insert(name.clone(), source.clone());
        self.sources.push(source);
        Ok((number, name))
    }

    pub fn render(&self, Template(number, name): &Template, scope: &Scope) -> Result<String> {
        let template = self.environment.get_template(name).map_err(|error| self.wrong(*number, &error))?;
        template.render(scope.value()).map_err(|error| self.wrong(*number, &error))
    }

    pub fn eval(&self, expression: &Expression, scope: &Scope) -> Result<Value> {
        let wrong = |error: minijinja::Error| self.wrong(expression.number, &error);
        let source = self.sources.get(expression.number).map(|source| source.to_string()).unwrap_or_default();
        // It is short, and reading it takes some microseconds: to keep what was read would borrow from ourselves.
        let compiled = self.environment.compile_expression_owned(source).map_err(wrong)?;
        compiled.eval(scope.value()).map_err(wrong)
    }

    /// Whether an expression holds.
    pub fn holds(&self, expression: &Expression, scope: &Scope) -> Result<bool> {
        Ok(self.eval(expression, scope)?.is_true())
    }

    /// The value of an expression as text; `None` where there is none.
    pub fn text_of(&self, expression: &Expression, scope: &Scope) -> Result<Option<String>> {
        let value = self.eval(expression, scope)?;
        let text = escape::text(&value).map_err(|error| self.wrong(expression.number, &error))?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// Fills in; `None` for a null that drops its key.
    pub fn fill(&self, shape: &Shape, scope: &Scope) -> Result<Option<Plain>> {
        Ok(match shape {
            Shape::Fixed(value) => Some(value.clone()),
            Shape::Text(template) => Some(self.render(template, scope)?.into()),
            Shape::Typed(expression) => Some(json(&self.eval(expression, scope)?)?).filter(|value| !value.is_null()),
            // Places in a list mean something: a null keeps its own.
            Shape::List(list) => {
                let items: Result<Vec<Plain>> =
                    list.iter().map(|item| Ok(self.fill(item, scope)?.unwrap_or_default())).collect();
                Some(items?.into())
            }
            Shape::Map(map) => Some(self.fill_map(map, scope)?.into()),
        })
    }

    pub fn fill_map(&self, map: &[(String, Shape)], scope: &Scope) -> Result<Map<String, Plain>> {
        let mut filled = Map::new();
        for (key, shape) in map {
            filled.extend(self.fill(shape, scope)?.map(|value| (key.clone(), value)));
        }
        Ok(filled)
    }

    /// Says which text it is, never what was filled in.
    fn wrong(&self, number: usize, error: &minijinja::Error) -> Error {
        let source = self.sources.get(number).map_or("", |source| source);
        let detail = match error.kind() {
            ErrorKind::OutOfFuel => "it computes too much",
            _ => error.detail().unwrap_or("it has no value"),
        };
        Error::schema(format!("`{}` of the manifest cannot be filled in: {detail}", tercel_sdk::text::cut(source, 200)))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value as JSON. Secrets are what stands for them until they are sent.
pub fn json(value: &Value) -> Result<Plain> {
    serde_json::to_value(value).map_err(|error| Error::schema(format!("This is no JSON: {error}")))
}

pub fn value(plain: &Plain) -> Value {
    Serde(plain).into()
}
