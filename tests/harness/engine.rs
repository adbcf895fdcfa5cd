//! Where servers under test store: SQLite, or with `TEST_ENGINE=postgres` a PostgreSQL database each.

use std::io::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Tests that are about the embedded database alone. All others run on both, except those of `postgres.rs`.
pub const ON_SQLITE: [(&str, &str); 8] = [
    ("a_file_that_is_no_database_is_not_overwritten", "PostgreSQL looks after its own files"),
    ("a_damaged_database_is_not_overwritten", "PostgreSQL looks after its own files"),
    ("a_database_that_was_cut_short_is_not_overwritten", "PostgreSQL looks after its own files"),
    (
        "a_disk_that_fills_up_under_load_loses_nothing_that_was_accepted",
        "PostgreSQL is elsewhere: its full disks are in postgres.rs",
    ),
    (
        "a_commit_that_meets_a_full_disk_is_made_when_there_is_room",
        "PostgreSQL is elsewhere: its full disks are in postgres.rs",
    ),
    (
        "a_database_that_becomes_read_only_is_reported_and_all_is_written_when_it_can_be",
        "PostgreSQL is elsewhere: its full disks are in postgres.rs",
    ),
    ("a_database_that_is_damaged_while_it_is_used_is_reported", "PostgreSQL looks after its own files"),
    ("a_copy_of_the_directory_of_a_server_that_died_goes_on_held", "the conversations are not in the directory"),
];

impl Engine {
    /// What the tests run on.
    pub fn tested() -> Self {
        match std::env::var_os("TEST_ENGINE").unwrap_or_default().to_str().unwrap_or("not UTF-8") {
            "" | "sqlite" => Self::Sqlite,
            "postgres" => Self::Postgres,
            other => panic!("TEST_ENGINE is sqlite or postgres, not `{other}`"),
        }
    }

    /// At which hits of a failpoint a test lets the process die: at each; with PostgreSQL around every third commit, because
    /// `crash/cuts.rs` breaks at each COMMIT besides.
    pub fn deaths(self, point: &str) -> impl Iterator<Item = u32> {
        let (first, step) = match (self, point) {
            (Self::Postgres, "commit.before") => (1, 3),
            (Self::Postgres, "commit.after") => (2, 3),
            _ => (1, 1),
        };
        (first..).step_by(step)
    }

    /// Whether the calling test runs now. Where it does not, the output says why.
    #[track_caller]
    pub fn is_tested(self) -> bool {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let listed = ON_SQLITE.iter().find(|(test, _)| *test == name).map(|(_, why)| *why);
        let why = match self {
            Self::Sqlite => listed.unwrap_or_else(|| panic!("`{name}` is not among the tests of SQLite alone")),
            Self::Postgres => "it is about PostgreSQL, and runs with TEST_ENGINE=postgres",
        };
        if Self::tested() != self {
            // Not by the macro, which shows nothing of a test that passes.
            let _ = writeln!(std::io::stderr(), "not on {:?}: {name} ({why})", Self::tested());
        }
        Self::tested() == self
    }
}
