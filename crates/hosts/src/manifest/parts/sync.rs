//! Records that are pushed to the service.

use crate::manifest::{
    call::{Action, Answer, Service, Shared},
    compile::{Attempts, Compiler},
    keys,
    template::{Expression, Names, Scope, Shape, value},
};
use serde_json::Value;
use std::sync::Arc;
use tercel_sdk::{
    Error, Handler, Host, Kind, Push, Pushed, Result,
    sync::{Change, Part, Record},
};

pub struct Sync {
    collection: String,
    by: Option<Expression>,
    reads: Vec<String>,
    row: Vec<(String, Shape)>,
    find: Option<Located>,
    create: Option<Located>,
    update: Option<Located>,
    delete: Option<Located>,
    upsert: Option<Upsert>,
}

struct Located {
    action: Action,
    id: Option<Expression>,
}

struct Upsert {
    action: Action,
    batch: usize,
    ids: Option<Expression>,
}

pub fn compile(c: &mut Compiler) -> Option<Sync> {
    let keys = c.keys.sync.as_ref()?;
    let at = keys.collection.at;
    let record = c.names().without("secrets").any("record").any("key");
    let row = c.entries(&keys.row, &record);
    if row.is_empty() {
        c.wrong(at, "`row` says what is pushed of a record, and it is empty");
    }
    let by = c.maybe(keys.by.as_ref(), &c.names().without("secrets").any("record"));
    let names = c.names().any("row").any("key");
    let with_id = names.clone().any("id");
    let create = located(c, "create", keys.create.as_ref(), &names);
    let update = located(c, "update", keys.update.as_ref(), &with_id);
    let delete = located(c, "delete", keys.delete.as_ref(), &with_id);
    let find = located(c, "find", keys.find.as_ref(), &names);
    let upsert = keys.upsert.as_ref().and_then(|upsert| self::upsert(c, upsert));
    match (&keys.create, &keys.upsert) {
        (None, None) => c.wrong(at, "`sync` needs `create` or `upsert`"),
        (Some(_), Some(_)) => c.wrong(at, "`sync` has one of `create` and `upsert`"),
        _ => {}
    }
    if let Some(find) = keys.find.as_ref().filter(|find| find.id.is_none()) {
        _ = find;
        c.wrong(at, "`find` needs `id`: the service's id of the record, null when it is not there");
    }
    let (collection, reads) = (keys.collection.value.clone(), c.keys.record_fields.clone());
    Some(Sync { collection, by, reads, row, find, create, update, delete, upsert })
}

fn located(c: &mut Compiler, what: &str, keys: Option<&keys::Located>, names: &Names) -> Option<Located> {
    let keys = keys?;
    let at = c.keys.name.at;
    let Some(request) = keys.request() else {
        c.wrong(at, format!("`sync.{what}` needs a request"));
        return None;
    };
    let action = c.action(&request, names, Attempts::One)?;
    let answered = names.clone().answered();
    let answered = answered.only("before", action.before.iter().map(|(name, _)| name.clone()));
    Some(Located { id: c.maybe(keys.id.as_ref(), &answered), action })
}

fn upsert(c: &mut Compiler, keys: &keys::Upsert) -> Option<Upsert> {
    let names = c.names().any("items").any("keys");
    let at = c.keys.name.at;
    if let Some(batch) = keys.batch.as_ref().filter(|batch| !(1..=1000).contains(&batch.value)) {
        c.wrong(batch.at, "`batch` is between 1 and 1000 records");
    }
    let Some(request) = keys.request() else {
        c.wrong(at, "`sync.upsert` needs a request");
        return None;
    };
    let action = c.action(&request, &names, Attempts::One)?;
    let answered = names.answered();
    let batch = keys.batch.as_ref().map_or(1, |batch| batch.value as usize);
    Some(Upsert { ids: c.maybe(keys.ids.as_ref(), &answered), batch, action })
}

pub fn part(service: Shared, sync: Sync) -> Part {
    let sync = Arc::new(sync);
    let is_idempotent = match (&sync.upsert, &sync.create) {
        (Some(_), _) => true,
        (None, Some(create)) => create.action.is_idempotent(),
        (None, None) => false,
    };
    Part {
        collection: sync.collection.clone(),
        batch: sync.upsert.as_ref().map_or(1, |upsert| upsert.batch),
        push: handler(&service, &sync, |service, sync, host, call| async move {
            let pushes: Vec<Push> = serde_json::from_value(call)?;
            Ok(serde_json::to_value(sync.push(&service, &host, pushes).await?)?)
        }),
        rows: Some(handler(&service, &sync, |service, sync, host, call| async move {
            let records: Vec<Record> = serde_json::from_value(call)?;
            let scope = service.scope(&host);
            let rows = records.iter().map(|record| sync.row(&service, &scope, record));
            Ok(Value::Array(rows.collect::<Result<_>>()?))
        })),
        keys: sync.by.is_some().then(|| {
            handler(&service, &sync, |service, sync, host, call| async move {
                let records: Vec<Value> = serde_json::from_value(call)?;
                let scope = service.scope(&host);
                let keys = records.iter().map(|record| sync.key(&service, &scope, record));
                Ok(Value::Array(keys.collect::<Result<_>>()?))
            })
        }),
        find: sync.find.is_some().then(|| {
            handler(&service, &sync, |service, sync, host, call| async move {
                let push: Push = serde_json::from_value(call)?;
                Ok(match &sync.find {
                    Some(find) => {
                        let (answer, scope) = find.act(&service, &host, &push).await?;
                        find.id(&service, &answer, &scope)?.map_or(Value::Null, Value::from)
                    }
                    None => Value::Null,
                })
            })
        }),
        idempotent: is_idempotent,
        by_id: sync.upsert.is_none(),
        deletes: sync.delete.is_some(),
        reads: sync.reads.clone(),
    }
}

fn handler<F, Fut>(service: &Shared, sync: &Arc<Sync>, function: F) -> Handler
where
    F: Fn(Shared, Arc<Sync>, Host, Value) -> Fut + Send + std::marker::Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    let (service, sync) = (service.clone(), sync.clone());
    Arc::new(move |host, call| Box::pin(function(service.clone(), sync.clone(), host, call.json)))
}

impl Sync {
    fn key(&self, service: &Service, scope: &Scope, record: &Value) -> Result<Value> {
        let inside = scope.clone().with_json("record", record);
        let key = self.by.as_ref().map(|by| service.engine.text_of(by, &inside)).transpose()?.flatten();
        let missing = || Error::schema("`by` is null for this record: there is nothing that it is known by");
        key.filter(|key| !key.is_empty()).map(Value::String).ok_or_else(missing)
    }

    fn row(&self, service: &Service, scope: &Scope, record: &Record) -> Result<Value> {
        let inside = scope.clone().with_json("record", &record.record).with("key", record.key.clone());
        Ok(service.engine.fill_map(&self.row, &inside)?.into())
    }

    /// Some may arrive and others not: each has its own outcome.
    async fn push(&self, service: &Service, host: &Host, pushes: Vec<Push>) -> Result<Vec<Pushed>> {
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        for push in pushes {
            match self.upsert.is_some() && push.change != Change::Delete {
                true => together.push(push),
                false => alone.push(push),
            }
        }
        let mut done = Vec::new();
        if let Some(upsert) = self.upsert.as_ref().filter(|_| !together.is_empty()) {
            done.extend(upsert.send(service, host, &together).await?);
        }
        for push in alone {
            let outcome = self.one(service, host, &push).await;
            done.push(match outcome {
                Ok(remote) => Pushed::done(&push.id, remote.or(push.remote_id)),
                Err(error) => Pushed::failed(&push.id, error),
            });
        }
        Ok(done)
    }

    async fn one(&self, service: &Service, host: &Host, push: &Push) -> Result<Option<String>> {
        let (what, located) = match push.change {
            Change::Create => ("create", &self.create),
            Change::Update => ("update", &self.update),
            Change::Delete => ("delete", &self.delete),
        };
        let unknown = || Error::new(Kind::Unsupported, format!("The manifest does not say how to {what} a record"));
        let located = located.as_ref().ok_or_else(unknown)?;
        let (answer, scope) = located.act(service, host, push).await?;
        located.id(service, &answer, &scope).map_err(after_success)
    }
}

/// The service did it, whatever cannot be read in its answer.
fn after_success(error: Error) -> Error {
    Error { kind: Kind::UnknownOutcome, ..error }
}

impl Located {
    /// The answer of the service, and what texts know after it.
    async fn act(&self, service: &Service, host: &Host, push: &Push) -> Result<(Answer, Scope)> {
        let mut scope = service
            .scope(host)
            .with("row", value(&push.row))
            .with("key", push.key.clone())
            .with("id", push.remote_id.clone().map_or(minijinja::Value::UNDEFINED, Into::into));
        let answer = service.act(host, &self.action, &mut scope, &Default::default()).await?;
        Ok((answer, scope))
    }

    /// The service's id of the record, if the answer says it.
    fn id(&self, service: &Service, answer: &Answer, scope: &Scope) -> Result<Option<String>> {
        let Some(id) = &self.id else { return Ok(None) };
        answer.must_be(id.reads)?;
        service.engine.text_of(id, scope)
    }
}

impl Upsert {
    async fn send(&self, service: &Service, host: &Host, pushes: &[Push]) -> Result<Vec<Pushed>> {
        let items: Vec<Value> = pushes.iter().map(|push| push.row.clone()).collect();
        let keys: Vec<Value> = pushes.iter().map(|push| push.key.clone().into()).collect();
        let mut scope = service.scope(host).with("items", value(&items.into())).with("keys", value(&keys.into()));
        let answer = service.act(host, &self.action, &mut scope, &Default::default()).await?;
        let ids = match &self.ids {
            Some(ids) => service.items(ids, &scope, &answer).map_err(after_success)?,
            None => Vec::new(),
        };
        let done = pushes.iter().enumerate().map(|(place, push)| {
            let given = ids.get(place).filter(|id| !id.is_none() && !id.is_undefined());
            Pushed::done(&push.id, given.map(ToString::to_string).or_else(|| push.remote_id.clone()))
        });
        Ok(done.collect())
    }
}
