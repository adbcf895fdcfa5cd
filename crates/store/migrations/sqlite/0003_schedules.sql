CREATE TABLE schedules (
    id            BLOB PRIMARY KEY,
    name          TEXT NOT NULL,
    definition    TEXT NOT NULL,                   -- when it fires and what it starts, as the server reads it
    sealed_target TEXT,
    active        BOOLEAN NOT NULL,                -- false while it is paused
    next_at       INTEGER,                         -- null when it never fires again
    last_at       INTEGER,
    last_task     BLOB,
    fires         INTEGER NOT NULL,                -- number of the newest row of its history
    runs          INTEGER NOT NULL,
    missed        INTEGER NOT NULL,                -- fire times that passed while nobody was there
    skipped       INTEGER NOT NULL,                -- fire times at which its last run was still open
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE active;

CREATE TABLE fires (
    schedule_id BLOB NOT NULL,
    n           INTEGER NOT NULL,                  -- from 1
    due_at      INTEGER,                           -- null: asked for by hand
    fired_at    INTEGER NOT NULL,
    outcome     TEXT NOT NULL,                     -- run skipped missed refused repeated
    missed      INTEGER NOT NULL,                  -- fire times between this one and the time it fired
    task_id     BLOB,
    reason      TEXT,
    PRIMARY KEY (schedule_id, n)
) WITHOUT ROWID;

CREATE TABLE polls (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    name        TEXT NOT NULL,
    bookmark    TEXT NOT NULL,                     -- JSON, the integration's to understand
    polled_at   INTEGER NOT NULL,
    PRIMARY KEY (integration, connection, name)
) WITHOUT ROWID;

-- Down times whose events were not fetched yet.
CREATE TABLE gaps (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    since       INTEGER NOT NULL,
    up_to       INTEGER NOT NULL,
    PRIMARY KEY (integration, connection)
) WITHOUT ROWID;
