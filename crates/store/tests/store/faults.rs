//! A database that cannot be used is said so, with advice, and is not touched.

use crate::world::{World, ask, delivered, store};
use futures::future::join_all;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, sync::Arc};
use tercel_store::{Accepted, DirectoryLock, Error, Store};

/// A database with some rows in it, its server gone in an orderly way.
async fn closed() -> World {
    let world = store().await;
    join_all((0..50).map(|i| world.accept(delivered(ask(&i.to_string()), &[])))).await;
    world.store.close().await;
    world
}

async fn open(directory: &Path) -> Result<Arc<Store>, String> {
    let lock = DirectoryLock::take(directory).map_err(|error| error.to_string())?;
    Store::open(&lock, directory).await.map_err(|error| {
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
        error.to_string()
    })
}

/// Damages the file, and expects that it is refused with these words and left as it is.
async fn refuses(damage: impl FnOnce(&Path), words: &[&str]) {
    let world = closed().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tercel.db");
    fs::copy(world.directory.path().join("tercel.db"), &file).unwrap();
    damage(&file);
    let before = fs::read(&file).unwrap();
    let Err(message) = open(directory.path()).await else { panic!("it was opened") };
    for word in words.iter().chain(&[file.to_str().unwrap()]) {
        assert!(message.contains(word), "{message}");
    }
    assert!(fs::read(&file).unwrap() == before, "the file was changed");
}

const DAMAGED: [&str; 3] = ["damaged", "Nothing was changed", "Restore a backup"];

#[tokio::test]
async fn random_bytes_are_refused() {
    let noise: Vec<u8> = (0..9000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    refuses(|file| fs::write(file, noise).unwrap(), &DAMAGED).await;
}

#[tokio::test]
async fn a_database_cut_short_is_refused() {
    refuses(
        |file| {
            let length = fs::metadata(file).unwrap().len();
            fs::File::options().write(true).open(file).unwrap().set_len(length / 2).unwrap();
        },
        &DAMAGED,
    )
    .await;
}

#[tokio::test]
async fn a_database_with_damaged_pages_is_refused() {
    refuses(
        |file| {
            let mut bytes = fs::read(file).unwrap();
            let pages = bytes.len() / 4096;
            for page in pages / 2..pages {
                bytes[page * 4096..page * 4096 + 64].fill(0xee);
            }
            fs::write(file, bytes).unwrap();
        },
        &DAMAGED,
    )
    .await;
}

fn run(file: &Path, sql: &str) {
    rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_its_number() {
    let world = closed().await;
    let newer = world.directory.path().join("tercel.db");
    run(
        &newer,
        "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1",
    );
    let words = ["made by a newer Tercel (schema 9999)", "Run that version, or restore a backup"];
    refuses(|file| assert!(fs::copy(&newer, file).is_ok()), &words).await;
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let foreign = directory.path().join("foreign");
    run(&foreign, "CREATE TABLE photos (id INTEGER)");
    let words = ["belongs to another program", "TERCEL_DATA_DIR"];
    refuses(|file| assert!(fs::copy(&foreign, file).is_ok()), &words).await;
}

#[tokio::test]
async fn a_second_server_is_refused_and_told_which_process_has_the_directory() {
    let world = store().await;
    let Err(message) = open(world.directory.path()).await else { panic!("it was opened") };
    let expected = format!(
        "Another server (process {}) runs on the data directory {}. Stop it, or give this one another TERCEL_DATA_DIR",
        std::process::id(),
        world.directory.path().display()
    );
    assert_eq!(message, expected);
    world.accept(ask("a")).await;
}

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    let world = store().await;
    world.accept(ask("a")).await;
    for name in ["tercel.db", "tercel.db-wal", "tercel.db-shm", "lock"] {
        let mode = fs::metadata(world.directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    let fresh = world.directory.path().join("fresh");
    drop(DirectoryLock::take(&fresh).unwrap());
    assert_eq!(fs::metadata(fresh).unwrap().permissions().mode() & 0o777, 0o711);
}

#[tokio::test]
async fn closing_commits_what_was_sent_before_and_refuses_what_comes_after() {
    let world = store().await;
    let asks: Vec<_> = (0..500)
        .map(|i| {
            let store = world.store.clone();
            tokio::spawn(async move { store.accept(ask(&(i % 9).to_string())).await })
        })
        .collect();
    tokio::task::yield_now().await;
    world.store.close().await;
    let mut kept = 0;
    for ask in asks {
        match ask.await.unwrap() {
            Ok(Accepted::New(_)) => kept += 1,
            Err(error) => assert!(matches!(error, Error::Stopping) && error.is_passing(), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(kept > 0);
    assert_eq!(world.rows("SELECT COUNT(*) FROM tasks").await, [kept.to_string()]);
    assert_eq!(world.rows("SELECT stopped_at IS NOT NULL FROM workers").await, ["1"]);
    assert!(matches!(world.store.accept(ask("late")).await, Err(Error::Stopping)));
    world.is_consistent().await;
}

#[tokio::test]
async fn an_orderly_end_leaves_no_log_behind() {
    let world = closed().await;
    assert!(!world.directory.path().join("tercel.db-wal").exists());
}

#[tokio::test]
async fn while_another_program_has_it_locked_all_writes_fail_together_and_then_go_on() {
    let world = store().await;
    let other = world.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = std::time::Instant::now();
    let answers = join_all((0..20).map(|i| world.store.accept(ask(&i.to_string())))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(Error::is_passing)), "{answers:?}");
    // Two groups at most, each of which waits five seconds once.
    assert!(begun.elapsed().as_secs() < 15);
    other.execute_batch("ROLLBACK").unwrap();
    world.accept(ask("a")).await;
    assert_eq!(world.rows("SELECT COUNT(*) FROM tasks").await, ["1"]);
}

/// A small disk of its own; none where the test may not mount one.
pub struct Disk(pub tempfile::TempDir);

impl Disk {
    pub fn mount(size: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        if !disk.tool("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]) {
            eprintln!("Skipped: mounting a small disk takes root");
            return None;
        }
        Some(disk)
    }

    pub fn tool(&self, name: &str, arguments: &[&str]) -> bool {
        Command::new(name).args(arguments).arg(self.0.path()).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.tool("umount", &["-l"]);
    }
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_lost_and_with_space_it_goes_on() {
    let Some(disk) = Disk::mount("2m") else { return };
    let directory = disk.0.path();
    let store = open(directory).await.unwrap();
    let big = |i: usize| {
        let mut ask = delivered(ask(&i.to_string()), &[]);
        ask.delivery.as_mut().unwrap().body = (0..20_000_u32).flat_map(|n| (n ^ i as u32).to_le_bytes()).collect();
        ask
    };
    let mut kept = Vec::new();
    let mut failed = None;
    for i in 0..99 {
        let ask = big(i);
        let id = ask.delivery.as_ref().unwrap().id;
        match store.accept(ask).await {
            Ok(_) => kept.push(id),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let failed = failed.expect("the disk is small");
    assert!(failed.is_passing(), "{failed}");
    assert!(!kept.is_empty());
    for id in &kept {
        assert!(store.delivery(*id).await.unwrap().is_some());
    }
    assert!(disk.tool("mount", &["-o", "remount,size=64m"]));
    join_all((100..110).map(|i| store.accept(big(i)))).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    store.close().await;
    let store = open(directory).await.unwrap();
    assert_eq!(store.deliveries(None, None, 999).await.unwrap().len(), kept.len() + 10);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_refused_with_advice() {
    let Some(disk) = Disk::mount("2m") else { return };
    open(disk.0.path()).await.unwrap().close().await;
    assert!(disk.tool("mount", &["-o", "remount,ro"]));
    let Err(message) = open(disk.0.path()).await else { panic!("it was opened") };
    assert!(message.contains("Read-only file system") && message.contains("TERCEL_DATA_DIR"), "{message}");
}
