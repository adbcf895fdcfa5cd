//! Records that are pushed to a service: each of them is there once, and as it is here.

use crate::{FromHost, Handler, Result, erased::erase};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::future::Future;

/// What is to become of a record at the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Create,
    Update,
    Delete,
}

/// One record on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// What the record is called here; unique in its collection.
    pub id: String,
    /// Names the record at the service, the same for ever: what [`Part::find`] looks for.
    pub key: String,
    pub change: Change,
    /// Its id at the service, once it has one there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    /// As it is sent: what [`Part::rows`] made of it, else all of it. Null for a deletion.
    pub row: Value,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pushed {
    pub id: String,
    /// Its id at the service; absent when the service gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    /// Why it is not there. Others of the same call may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<crate::Error>,
}

impl Pushed {
    pub fn done(id: &str, remote_id: Option<String>) -> Self {
        Self { id: id.into(), remote_id, error: None }
    }

    pub fn failed(id: &str, error: crate::Error) -> Self {
        Self { id: id.into(), remote_id: None, error: Some(error) }
    }
}

/// A sync part. Whether a record has to be sent at all is not its business: it is called for what is new or was changed.
#[derive(Clone)]
pub struct Part {
    /// Which records: `jobs`.
    pub collection: String,
    /// Records of one call, at the most.
    pub batch: usize,
    /// [`Push`]es in, a [`Pushed`] for each out. An error is about all of them.
    pub push: Handler,
    /// Records with their keys in, what is sent of each out, without asking the service. A record whose row is as before
    /// is not sent again.
    pub rows: Option<Handler>,
    /// Records in, what each is known by at the service out; absent: their ids. Asked once for each record.
    pub keys: Option<Handler>,
    /// A [`Push`] in, the record's id at the service out, or null when it is not there.
    pub find: Option<Handler>,
    /// A repetition of a push does no harm: the service knows it by the key.
    pub idempotent: bool,
    /// Updates and deletions name the record by its id at the service: their repetition does no harm.
    pub by_id: bool,
    /// Records that are deleted here are deleted there.
    pub deletes: bool,
    /// What it reads of a record; empty: nobody has said.
    pub reads: Vec<String>,
}

/// What [`Part::rows`] is given of each record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub key: String,
    pub record: Value,
}

/// A sync part from `fn(host, pushes) -> Result<Vec<Pushed>>`, called with one record at a time.
pub fn syncs<H, F, Fut>(collection: &str, push: F) -> Part
where
    H: FromHost,
    F: Fn(H, Vec<Push>) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<Vec<Pushed>>> + Send + 'static,
{
    Part {
        collection: collection.into(),
        batch: 1,
        push: erase(push),
        rows: None,
        keys: None,
        find: None,
        idempotent: false,
        by_id: false,
        deletes: false,
        reads: Vec::new(),
    }
}

impl Part {
    /// Called with up to so many records at a time.
    pub fn batch(mut self, records: usize) -> Self {
        self.batch = records.max(1);
        self
    }

    /// `fn(host, records) -> Result<Vec<Value>>`: what is sent of each record.
    pub fn rows<H, F, Fut>(mut self, rows: F) -> Self
    where
        H: FromHost,
        F: Fn(H, Vec<Record>) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Vec<Value>>> + Send + 'static,
    {
        self.rows = Some(erase(rows));
        self
    }

    /// `fn(host, push) -> Result<Option<String>>`: the id at the service of a record, asked before it is made there.
    pub fn find<H, F, Fut>(mut self, find: F) -> Self
    where
        H: FromHost,
        F: Fn(H, Push) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Option<String>>> + Send + 'static,
    {
        self.find = Some(erase(find));
        self
    }

    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Updates and deletions name the record by `remote_id`, so that their repetition does no harm.
    pub fn by_id(mut self) -> Self {
        self.by_id = true;
        self
    }

    /// It is also called for records that are gone here.
    pub fn deletes(mut self) -> Self {
        self.deletes = true;
        self
    }
}
