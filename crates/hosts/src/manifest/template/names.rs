//! Which names a text may use: checked before anything runs.

use super::secret;
use crate::manifest::{call::answer, keys::nearest};
use minijinja::{
    machinery::ast::{CallArg, Expr, Stmt},
    value::ValueKind,
};
use std::collections::BTreeMap;

/// What can stand behind a name.
#[derive(Debug, Clone)]
enum Members {
    /// Data: whatever it has.
    Any,
    /// Just these.
    Only(Vec<String>),
}

/// The names that a text may use.
#[derive(Debug, Clone, Default)]
pub struct Names(BTreeMap<&'static str, Members>);

/// As what an expression reads an answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reads {
    pub json: bool,
    pub xml: bool,
}

/// Functions that texts can call.
const FUNCTIONS: [&str; 4] = ["range", "dict", "hmac", "jwt"];

const FILTERS: [&str; 51] = [
    "abs",
    "attr",
    "base64",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "decode",
    "dictsort",
    "fill",
    "first",
    "float",
    "format",
    "groupby",
    "ical",
    "ical_time",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "path",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "url",
    "zip",
];

const TESTS: [&str; 32] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
];

impl Names {
    pub fn any(mut self, name: &'static str) -> Self {
        self.0.insert(name, Members::Any);
        self
    }

    pub fn only<S: Into<String>>(mut self, name: &'static str, members: impl IntoIterator<Item = S>) -> Self {
        self.0.insert(name, Members::Only(members.into_iter().map(Into::into).collect()));
        self
    }

    /// With those of an answer.
    pub fn answered(self) -> Self {
        self.only("response", answer::NAMES)
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    pub fn check_template(&self, source: &str) -> Result<(), Vec<String>> {
        let parsed = minijinja::machinery::parse(source, "text", Default::default());
        let parsed = parsed.map_err(|error| vec![words(source, &error)])?;
        let mut walk = Walk::new(self);
        walk.statement(&parsed);
        walk.end().map(|_| ())
    }

    /// As what it reads the answer.
    pub fn check_expression(&self, source: &str) -> Result<Reads, Vec<String>> {
        if source.trim().is_empty() {
            return Err(vec!["An expression stands here, and it is empty".into()]);
        }
        let parsed = minijinja::machinery::parse_expr(source).map_err(|error| {
            let hint = if source.contains("{{") { "; an expression has no braces" } else { "" };
            vec![format!("{}{hint}", words(source, &error))]
        })?;
        let mut walk = Walk::new(self);
        walk.expression(&parsed);
        walk.end()
    }
}

/// What the engine says of a text that it cannot read.
pub fn words(source: &str, error: &minijinja::Error) -> String {
    let detail = error.detail().unwrap_or("it cannot be read");
    format!("`{}` is not right: {detail}", tercel_sdk::text::cut(source, 200))
}

struct Walk<'a> {
    names: &'a Names,
    /// Names of the text's own.
    own: Vec<&'a str>,
    reads: Reads,
    problems: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(names: &'a Names) -> Self {
        Self { names, own: Vec::new(), reads: Reads::default(), problems: Vec::new() }
    }

    fn end(self) -> Result<Reads, Vec<String>> {
        if self.problems.is_empty() { Ok(self.reads) } else { Err(self.problems) }
    }

    fn wrong(&mut self, words: String) {
        if !self.problems.contains(&words) {
            self.problems.push(words);
        }
    }

    fn statements(&mut self, statements: &'a [Stmt<'a>]) {
        let before = self.own.len();
        statements.iter().for_each(|statement| self.statement(statement));
        self.own.truncate(before);
    }

    fn statement(&mut self, statement: &'a Stmt<'a>) {
        match statement {
            Stmt::Template(template) => template.children.iter().for_each(|child| self.statement(child)),
            Stmt::EmitRaw(_) => {}
            Stmt::EmitExpr(emitted) => self.expression(&emitted.expr),
            Stmt::ForLoop(each) => {
                self.expression(&each.iter);
                let before = self.own.len();
                self.own.push("loop");
                self.assign(&each.target);
                each.filter_expr.iter().for_each(|filter| self.expression(filter));
                self.statements(&each.body);
                self.own.truncate(before);
                self.statements(&each.else_body);
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr);
                self.statements(&condition.true_body);
                self.statements(&condition.false_body);
            }
            Stmt::WithBlock(with) => {
                let before = self.own.len();
                for (target, value) in &with.assignments {
                    self.expression(value);
                    self.assign(target);
                }
                self.statements(&with.body);
                self.own.truncate(before);
            }
            Stmt::Set(set) => {
                self.expression(&set.expr);
                self.assign(&set.target);
            }
            _ => self.wrong("Of statements there are `for`, `if`, `set x = …` and `with`; no others".into()),
        }
    }

    fn assign(&mut self, target: &'a Expr<'a>) {
        match target {
            Expr::Var(name) if self.names.0.contains_key(name.id) => {
                self.wrong(format!("`{}` has a meaning already: take another name", name.id));
            }
            Expr::Var(name) => self.own.push(name.id),
            Expr::List(list) => list.items.iter().for_each(|item| self.assign(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.assign(item)),
            _ => self.wrong("Only names can be set".into()),
        }
    }

    fn expression(&mut self, expression: &'a Expr<'a>) {
        match expression {
            Expr::Var(name) => self.name(name.id),
            Expr::Const(_) => {}
            Expr::UnaryOp(one) => self.expression(&one.expr),
            Expr::BinOp(two) => {
                self.expression(&two.left);
                self.expression(&two.right);
            }
            Expr::Compare(compared) => {
                self.expression(&compared.expr);
                compared.ops.iter().for_each(|op| self.expression(&op.expr));
            }
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr);
                self.expression(&choice.true_expr);
                choice.false_expr.iter().for_each(|other| self.expression(other));
            }
            Expr::Filter(filter) => {
                self.one_of("filter", filter.name, &FILTERS);
                filter.expr.iter().for_each(|inner| self.expression(inner));
                self.arguments(&filter.args);
            }
            Expr::Test(test) => {
                self.one_of("test", test.name, &TESTS);
                self.expression(&test.expr);
                self.arguments(&test.args);
            }
            Expr::GetAttr(get) => match &get.expr {
                Expr::Var(root) => self.member(root.id, Some(get.name)),
                inner => self.expression(inner),
            },
            Expr::GetItem(get) => match &get.expr {
                Expr::Var(root) => {
                    let key = get.subscript_expr.as_const().filter(|key| key.kind() == ValueKind::String);
                    self.member(root.id, key.as_ref().and_then(|key| key.as_str()));
                    self.expression(&get.subscript_expr);
                }
                inner => {
                    self.expression(inner);
                    self.expression(&get.subscript_expr);
                }
            },
            Expr::Slice(slice) => {
                self.expression(&slice.expr);
                [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(|part| self.expression(part));
            }
            Expr::Call(call) => {
                match &call.expr {
                    Expr::Var(name) => self.one_of("function", name.id, &FUNCTIONS),
                    _ => self.wrong("Values have no methods: use a filter, as in `x | items`".into()),
                }
                self.arguments(&call.args);
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.expression(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.expression(item)),
            Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(|item| self.expression(item)),
        }
    }

    fn arguments(&mut self, arguments: &'a [CallArg<'a>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value) | CallArg::Kwarg(_, value) => self.expression(value),
                CallArg::PosSplat(value) | CallArg::KwargSplat(value) => self.expression(value),
            }
        }
    }

    fn one_of(&mut self, what: &str, name: &str, known: &[&'static str]) {
        if !known.contains(&name) {
            let near = nearest(name, known.iter().copied()).unwrap_or_default();
            self.wrong(format!("There is no {what} `{name}`; is `{near}` meant?"));
        }
    }

    fn name(&mut self, name: &str) {
        if self.own.contains(&name) {
            return;
        }
        match self.names.0.get(name) {
            Some(Members::Only(_)) if name == secret::NAME => {
                self.wrong("Secrets are used one by one: `secrets.<field>`".into());
            }
            Some(_) => {}
            None if name == secret::NAME => self.wrong("Secrets can stand in requests only, and not here".into()),
            None => {
                let near = nearest(name, self.names.0.keys().copied());
                let meant = near.map_or_else(String::new, |near| format!("; is `{near}` meant?"));
                self.wrong(format!("There is no `{name}` here{meant}"));
            }
        }
    }

    fn member(&mut self, root: &str, member: Option<&str>) {
        if root == "response" {
            self.reads.json |= member == Some("json");
            self.reads.xml |= member == Some("xml");
        }
        if self.own.contains(&root) {
            return;
        }
        match self.names.0.get(root) {
            Some(Members::Only(known)) => match member {
                None => self.wrong(format!("`{root}` is used by name: `{root}.<name>`")),
                Some(member) if known.iter().any(|name| name == member) => {}
                Some(member) => {
                    let words = self.unknown_member(root, member, known);
                    self.wrong(words);
                }
            },
            Some(Members::Any) => {}
            None => self.name(root),
        }
    }

    fn unknown_member(&self, root: &str, member: &str, known: &[String]) -> String {
        let of = |name: &str| match self.names.0.get(name) {
            Some(Members::Only(others)) => others.iter().any(|other| other == member),
            _ => false,
        };
        match nearest(member, known.iter().map(String::as_str)) {
            _ if root == "fields" && of(secret::NAME) => {
                format!("`fields.{member}` is a secret: write `secrets.{member}`")
            }
            _ if root == secret::NAME && of("fields") => {
                format!("`secrets.{member}` is no secret: write `fields.{member}`")
            }
            Some(near) => format!("There is no `{root}.{member}`; is `{root}.{near}` meant?"),
            None => format!("There is no `{root}.{member}`: it has no names"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Engine, *};

    fn check(source: &str) -> String {
        let names = Names::default().only("fields", ["url"]).only("secrets", ["token"]).any("item").any("response");
        match names.check_template(source) {
            Ok(()) => "right".into(),
            Err(problems) => problems.join("; "),
        }
    }

    #[test]
    fn names_that_are_there_are_right() {
        for source in [
            "{{ fields.url }}/{{ item.a.b[0] }} {{ secrets.token }}",
            "{{ fields['url'] }}",
            "{% for x in item.list if x.on %}{{ loop.index }}{{ x }}{% else %}none{% endfor %}",
            "{% set a = item %}{% if a %}{{ a }}{% endif %}{% with b = 1 %}{{ b }}{% endwith %}",
            "{{ item | map(attribute='a') | join(', ') | upper }} {{ 1 if item is defined else range(3) }}",
            "no names at all, and { braces }",
        ] {
            assert_eq!(check(source), "right", "{source}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_told_with_the_nearest() {
        for (source, said) in [
            ("{{ itme.a }}", "There is no `itme` here; is `item` meant?"),
            ("{{ fields.ulr }}", "There is no `fields.ulr`; is `fields.url` meant?"),
            ("{{ fields['ulr'] }}", "is `fields.url` meant?"),
            ("{{ fields.token }}", "write `secrets.token`"),
            ("{{ secrets.url }}", "write `fields.url`"),
            ("{{ secrets }}", "one by one"),
            ("{{ fields[item.x] }}", "used by name"),
            ("{{ item | uper }}", "There is no filter `uper`; is `upper` meant?"),
            ("{{ item | safe }}", "There is no filter `safe`"),
            ("{{ item is definite }}", "is `defined` meant?"),
            ("{{ rang(3) }}", "is `range` meant?"),
            ("{{ item.items() }}", "use a filter"),
            ("{% set item = 1 %}", "has a meaning already"),
            ("{% autoescape false %}{{ item }}{% endautoescape %}", "no others"),
            ("{% filter upper %}{{ item }}{% endfilter %}", "no others"),
            ("{% set x %}{{ item }}{% endset %}", "no others"),
            ("{% for x in item %}{% endfor %}{{ x }}", "There is no `x` here"),
            ("{{ item", "is not right"),
            ("{% if item %}", "is not right"),
            ("{% include 'a' %}", "is not right"),
        ] {
            let words = check(source);
            assert!(words.contains(said), "{source}: {words}");
        }
    }

    #[test]
    fn every_filter_and_test_that_is_offered_is_there() {
        let mut engine = Engine::new();
        let names = Names::default().any("item");
        for filter in FILTERS {
            let template = engine.template(&format!("{{{{ item | {filter} }}}}"), &names).unwrap();
            if let Err(error) = engine.render(&template, &super::super::Scope::default().with("item", "a")) {
                assert!(!error.message.contains("unknown"), "{filter}: {error}");
            }
        }
        for test in TESTS {
            let template = engine.template(&format!("{{{{ item is {test}(item) }}}}"), &names).unwrap();
            if let Err(error) = engine.render(&template, &super::super::Scope::default().with("item", "a")) {
                assert!(!error.message.contains("unknown"), "{test}: {error}");
            }
        }
    }
}
