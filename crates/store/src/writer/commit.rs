//! A group becomes a transaction: together, else each write apart, else each in a transaction of its own.

use super::{group::Group, waiting::Desk};
use crate::{
    Error, Result,
    engine::{self, Connection},
    failpoint,
};

/// How often a group is tried for what was not its fault.
const TRIES: u32 = 5;

/// All of it in one transaction. When that fails, again with each write apart, so that one failure costs one more
/// commit; when even that fails (the disk is full), each in a transaction of its own. Answers whether the database works.
pub(super) async fn commit(desk: &mut Desk, groups: &mut [Box<dyn Group>]) -> bool {
    let Err(error) = transact(desk, groups, Way::Together).await else { return true };
    let total: usize = groups.iter().map(|group| group.len()).sum();
    if total == 1 {
        let works = !error.is_passing();
        groups[0].fail(0, error);
        return works;
    }
    if concerns_all(&error) {
        fail_all(groups, &error);
        return false;
    }
    tracing::warn!("A group of {total} writes failed and each is tried apart: {error}");
    match transact(desk, groups, Way::Apart).await {
        Ok(()) => return true,
        Err(error) if concerns_all(&error) => {
            fail_all(groups, &error);
            return false;
        }
        Err(_) => {}
    }
    let mut works = false;
    let mut away = None;
    for g in 0..groups.len() {
        for i in 0..groups[g].len() {
            if let Some(error) = &away {
                groups[g].fail(i, passing(error));
                continue;
            }
            match transact(desk, &mut groups[g..=g], Way::Only(i)).await {
                Ok(()) => works = true,
                Err(error) => {
                    works |= !error.is_passing();
                    if concerns_all(&error) {
                        away = Some(passing(&error));
                    }
                    groups[g].fail(i, error);
                }
            }
        }
    }
    works
}

/// Each try waits for seconds; what the first met, the others would.
fn concerns_all(error: &Error) -> bool {
    error.is_locked() || matches!(error, Error::Away(_) | Error::Unanswered)
}

fn fail_all(groups: &mut [Box<dyn Group>], error: &Error) {
    for group in groups {
        for i in 0..group.len() {
            group.fail(i, passing(error));
        }
    }
}

/// An error like this one, which has no copies.
fn passing(error: &Error) -> Error {
    match error {
        Error::Away(message) => Error::Away(message.clone()),
        Error::Unanswered => Error::Unanswered,
        Error::Sqlite(error) => Error::Sqlite(engine::sqlite::copy(error)),
        error => Error::Database(sqlx::Error::Io(std::io::Error::other(error.to_string()))),
    }
}

#[derive(Clone, Copy)]
enum Way {
    Together,
    Apart,
    Only(usize),
}

/// One transaction; again when another one stood in its way, or when the database was lost before the end of it. What
/// became of a COMMIT that was not answered is found out first: until then nobody is told anything, unless the server ends
/// before; then they are told that it is not known.
async fn transact(desk: &mut Desk, groups: &mut [Box<dyn Group>], way: Way) -> Result<()> {
    let mut tries = 0;
    loop {
        let Err(error) = attempt(&mut desk.connection, groups, way).await else { return Ok(()) };
        desk.has_met(&error);
        tries += 1;
        if desk.connection.is_alive() {
            forget(groups, way);
            // Fails when the transaction never began or was rolled back by the engine itself.
            let _ = desk.connection.rollback().await;
            if error.is_contention() && tries < TRIES {
                continue;
            }
            return Err(error);
        }
        let unanswered = desk.connection.is_unanswered();
        let until = (!unanswered).then(|| desk.limit());
        let revived = desk.revive(until).await;
        if desk.connection.take_outcome() == Some(true) {
            return Ok(());
        }
        forget(groups, way);
        if revived.is_err() && desk.connection.is_unanswered() {
            return Err(Error::Unanswered);
        }
        revived?;
        // It may be the group that makes the connection end.
        if tries >= TRIES && desk.has_waited() {
            return Err(error);
        }
    }
}

fn forget(groups: &mut [Box<dyn Group>], way: Way) {
    for group in groups {
        group.forget(if let Way::Only(i) = way { Some(i) } else { None });
    }
}

async fn attempt(connection: &mut Connection, groups: &mut [Box<dyn Group>], way: Way) -> Result<()> {
    let Some(limit) = connection.limit() else { return run(connection, groups, way).await };
    match tokio::time::timeout(limit, run(connection, groups, way)).await {
        Ok(done) => done,
        Err(_) => {
            connection.lose();
            Err(Error::Away(format!("The database did not answer for {} seconds", limit.as_secs())))
        }
    }
}

async fn run(connection: &mut Connection, groups: &mut [Box<dyn Group>], way: Way) -> Result<()> {
    connection.begin().await?;
    for group in groups.iter_mut() {
        match way {
            Way::Together => group.run(connection, None).await?,
            Way::Only(i) => group.run(connection, Some(i)).await?,
            Way::Apart => {
                for i in 0..group.len() {
                    run_apart(group.as_mut(), i, connection).await?;
                }
            }
        }
    }
    failpoint::hit("commit.before");
    connection.commit().await?;
    failpoint::hit("commit.after");
    Ok(())
}

/// Keeps the failure of a write as its answer. What waiting may mend fails the transaction instead.
async fn run_apart(group: &mut dyn Group, i: usize, connection: &mut Connection) -> Result<()> {
    connection.savepoint().await?;
    match group.run(connection, Some(i)).await {
        Ok(()) => connection.release().await,
        Err(error) if error.is_passing() || !connection.is_alive() => Err(error),
        Err(error) => {
            connection.undo().await?;
            group.fail(i, error);
            Ok(())
        }
    }
}
