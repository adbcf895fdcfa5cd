//! What is to be done about a record: a pure function of what is here and of what the ledger says.

use super::mapping;
use serde_json::Value;
use tercel_sdk::sync::Part;
use tercel_store::LedgerRow;

/// What a connection's integration can do about records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ways {
    /// It can look for a record by its key.
    pub finds: bool,
    pub idempotent: bool,
    pub by_id: bool,
    pub deletes: bool,
}

impl From<&Part> for Ways {
    fn from(part: &Part) -> Self {
        Self { finds: part.find.is_some(), idempotent: part.idempotent, by_id: part.by_id, deletes: part.deletes }
    }
}

impl Ways {
    /// A service may have what the ledger does not know: of an earlier server, since the backup, by somebody else.
    fn must_look(self) -> bool {
        self.finds && !self.knows_by_key()
    }

    /// A push sets what has its key there, whatever that is.
    fn knows_by_key(self) -> bool {
        self.idempotent && !self.by_id
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// It is no business of this sync.
    Nothing,
    /// It is there as it is here.
    Skip,
    Create,
    Update,
    Delete,
    /// The ledger knows it, and the service has it not: neither needs it any more.
    Forget,
    /// It may be there: it is looked for.
    Look,
    /// What may have arrived is sent once more, as it was.
    Repeat,
    /// It may be there, and only a person can find out.
    Hold,
}

/// `hash` is of what would be sent; absent: the record is gone. `looked`: it was looked for just now, and is not there.
pub fn decide(ways: Ways, looked: bool, hash: Option<&str>, known: Option<&LedgerRow>) -> Todo {
    let Some(known) = known.filter(|known| known.state != "absent") else {
        return match hash {
            None if known.is_some() => Todo::Forget,
            None => Todo::Nothing,
            Some(_) if ways.must_look() && !looked => Todo::Look,
            Some(_) => Todo::Create,
        };
    };
    if hash.is_none() && !ways.deletes {
        return Todo::Nothing;
    }
    if matches!(known.state.as_str(), "pushing" | "unknown") {
        return resolve(ways, hash, known);
    }
    let is_nameless = ways.by_id && known.remote_id.is_none() && ways.finds;
    match hash {
        Some(hash) if known.hash.as_deref() == Some(hash) => Todo::Skip,
        _ if is_nameless => Todo::Look,
        Some(_) => Todo::Update,
        None => Todo::Delete,
    }
}

/// An earlier push began, and nobody knows how it ended.
fn resolve(ways: Ways, hash: Option<&str>, known: &LedgerRow) -> Todo {
    let is_here = hash.is_some();
    let is_named = (ways.by_id || ways.idempotent) && known.remote_id.is_some();
    match known.change.as_str() {
        "update" if is_here && ways.knows_by_key() => Todo::Update,
        _ if is_here && ways.knows_by_key() => Todo::Create,
        // It sets what is there, whatever that is.
        _ if is_named && !is_here => Todo::Delete,
        "update" if is_named => Todo::Update,
        "delete" if is_named && !ways.finds => Todo::Update,
        _ if ways.finds && has_failed_and_is_other(hash, known) => Todo::Look,
        _ if ways.idempotent && known.sending.is_some() => Todo::Repeat,
        _ if ways.finds => Todo::Look,
        _ => Todo::Hold,
    }
}

/// What may be wrong with what was sent is mended, or not wanted any more: repeating it leads nowhere.
fn has_failed_and_is_other(hash: Option<&str>, known: &LedgerRow) -> bool {
    let sent = known.sending.as_deref().and_then(|sent| serde_json::from_str::<Value>(sent).ok());
    known.error.is_some() && sent.map(|sent| mapping::hash(&sent)).as_deref() != hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Ways = Ways { finds: true, idempotent: false, by_id: true, deletes: true };

    fn row(state: &str, change: &str, hash: Option<&str>, remote: Option<&str>) -> LedgerRow {
        LedgerRow {
            state: state.into(),
            change: change.into(),
            hash: hash.map(str::to_owned),
            remote_id: remote.map(str::to_owned),
            sending: (state == "pushing" || state == "unknown").then(|| "{}".into()),
            ..LedgerRow::default()
        }
    }

    #[test]
    fn what_is_unchanged_is_skipped_and_what_is_changed_updated() {
        let there = row("there", "create", Some("a"), Some("7"));
        assert_eq!(decide(ALL, false, Some("a"), Some(&there)), Todo::Skip);
        assert_eq!(decide(ALL, false, Some("b"), Some(&there)), Todo::Update);
        assert_eq!(decide(ALL, false, None, Some(&there)), Todo::Delete);
        assert_eq!(decide(Ways { deletes: false, ..ALL }, false, None, Some(&there)), Todo::Nothing);
    }

    #[test]
    fn what_the_ledger_does_not_have_is_looked_for_where_that_can_be_done_and_may_help() {
        let absent = row("absent", "create", None, None);
        for known in [None, Some(&absent)] {
            assert_eq!(decide(ALL, false, Some("a"), known), Todo::Look);
            assert_eq!(decide(ALL, true, Some("a"), known), Todo::Create, "it is not there");
            assert_eq!(decide(Ways { finds: false, ..ALL }, false, Some("a"), known), Todo::Create);
            assert_eq!(decide(Ways { idempotent: true, ..ALL }, false, Some("a"), known), Todo::Look);
            let by_key = Ways { idempotent: true, by_id: false, ..ALL };
            assert_eq!(decide(by_key, false, Some("a"), known), Todo::Create, "what is there by its key is set");
        }
        assert_eq!(decide(ALL, false, None, Some(&absent)), Todo::Forget);
        assert_eq!(decide(ALL, false, Some("b"), Some(&row("there", "create", Some("a"), None))), Todo::Look);
        assert_eq!(decide(ALL, false, None, None), Todo::Nothing);
    }

    #[test]
    fn a_push_that_may_have_arrived_is_never_made_blindly_again() {
        for state in ["pushing", "unknown"] {
            let created = row(state, "create", None, None);
            assert_eq!(decide(ALL, false, Some("a"), Some(&created)), Todo::Look);
            assert_eq!(decide(Ways { idempotent: true, ..ALL }, false, Some("b"), Some(&created)), Todo::Repeat);
            assert_eq!(decide(Ways { finds: false, ..ALL }, false, Some("a"), Some(&created)), Todo::Hold);
            assert_eq!(decide(Ways { finds: false, ..ALL }, false, None, Some(&created)), Todo::Hold);
            assert_eq!(decide(ALL, false, None, Some(&created)), Todo::Look, "it may have to be removed");
            let updated = row(state, "update", Some("a"), Some("7"));
            assert_eq!(decide(ALL, false, Some("a"), Some(&updated)), Todo::Update, "what it has nobody knows");
            assert_eq!(decide(ALL, false, None, Some(&updated)), Todo::Delete);
            let nameless = Ways { by_id: false, finds: false, ..ALL };
            assert_eq!(decide(nameless, false, Some("a"), Some(&updated)), Todo::Hold);
            let removed = row(state, "delete", Some("a"), Some("7"));
            assert_eq!(decide(ALL, false, None, Some(&removed)), Todo::Delete);
            assert_eq!(
                decide(ALL, false, Some("b"), Some(&removed)),
                Todo::Look,
                "it is here again, and maybe not there"
            );
        }
    }

    #[test]
    fn what_failed_as_it_was_is_not_repeated_when_it_is_another_or_gone() {
        let sent = serde_json::json!({"title": "A"});
        let same = mapping::hash(&sent);
        let failed = |change: &str, remote| LedgerRow {
            sending: Some(sent.to_string()),
            error: Some("{}".into()),
            ..row("unknown", change, None, remote)
        };
        let (created, updated, removed) =
            (failed("create", None), failed("update", Some("7")), failed("delete", Some("7")));
        let header = Ways { idempotent: true, ..ALL };
        let by_key = Ways { idempotent: true, by_id: false, ..ALL };
        let blind = |ways: Ways| Ways { finds: false, ..ways };
        for (ways, hash, known, todo) in [
            (header, Some(same.as_str()), &created, Todo::Repeat),
            (header, Some("b"), &created, Todo::Look),
            (header, None, &created, Todo::Look),
            (blind(header), Some("b"), &created, Todo::Repeat),
            (blind(header), None, &created, Todo::Repeat),
            (by_key, Some("b"), &created, Todo::Create),
            (by_key, None, &created, Todo::Look),
            (blind(by_key), Some("b"), &created, Todo::Create),
            (blind(by_key), None, &created, Todo::Repeat),
            (blind(by_key), Some("b"), &updated, Todo::Update),
            (blind(by_key), None, &updated, Todo::Delete),
            (blind(by_key), Some("b"), &removed, Todo::Create),
            (blind(by_key), None, &removed, Todo::Delete),
        ] {
            assert_eq!(decide(ways, false, hash, Some(known)), todo, "{ways:?} {hash:?} {known:?}");
        }
        let crashed = LedgerRow { error: None, ..created };
        assert_eq!(decide(header, false, Some("b"), Some(&crashed)), Todo::Repeat, "nobody has refused it yet");
    }
}
