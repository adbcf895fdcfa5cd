-- Records that are pushed to services.
CREATE TABLE collections (
    name       TEXT PRIMARY KEY,
    records    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE records (
    collection TEXT NOT NULL,
    id         TEXT NOT NULL,
    record     TEXT NOT NULL,                      -- JSON object
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,                   -- when it last became another
    PRIMARY KEY (collection, id)
);

-- What was pushed where.
CREATE TABLE ledger (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    collection  TEXT NOT NULL,
    record_id   TEXT NOT NULL,
    key         TEXT NOT NULL,                     -- what the record is known by there, for ever
    state       TEXT NOT NULL,                     -- there absent pushing unknown
    change      TEXT NOT NULL,                     -- of the last push: create update delete
    remote_id   TEXT,
    hash        TEXT,                              -- of what is there; null: nothing is
    sending     TEXT,                              -- what is on its way, or may have arrived
    pushes      INTEGER NOT NULL,                  -- that have ended: part of their idempotency keys
    error       TEXT,                              -- JSON: why the last push failed
    pushed_at   INTEGER,                           -- when it last became there what it was here
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (integration, connection, collection, record_id)
);
CREATE INDEX ledger_records ON ledger (collection, record_id);

-- Where the records of a ledger are: another target or account has another ledger.
CREATE TABLE ledgers (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    collection  TEXT NOT NULL,
    target      TEXT NOT NULL,                     -- names what the settings say of it
    account     TEXT,                              -- as far as it is known
    PRIMARY KEY (integration, connection, collection)
) WITHOUT ROWID;

CREATE TABLE syncs (
    id          BLOB PRIMARY KEY,
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    collection  TEXT NOT NULL,
    origin      TEXT NOT NULL,                     -- api schedule
    dry_run     BOOLEAN NOT NULL,
    partial     BOOLEAN NOT NULL,                  -- only the records that are its items
    anew        BOOLEAN NOT NULL,                  -- the ledger was begun anew with it
    asked       TEXT,                              -- names what was asked for, where it may be asked again
    status      TEXT NOT NULL,                     -- pending running waiting complete failed cancelled
    stopping    BOOLEAN NOT NULL,                  -- somebody has asked for that
    next_at     INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,                  -- since it last got on
    worker      INTEGER,
    phase       TEXT NOT NULL,                     -- records removals
    reached     TEXT NOT NULL,                     -- the last record of the phase that was looked at
    total       INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    deleted     INTEGER NOT NULL,
    skipped     INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    unknown     INTEGER NOT NULL,
    error       TEXT,                              -- JSON
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER
);
CREATE INDEX syncs_open ON syncs (next_at) WHERE status IN ('pending', 'running', 'waiting');
CREATE INDEX syncs_of ON syncs (integration, connection, created_at);

-- What became of a record in a sync. One that was as before has none, unless it was asked for.
CREATE TABLE sync_items (
    sync_id   BLOB NOT NULL,
    record_id TEXT NOT NULL,
    record    TEXT,                                -- in a dry run: as it was given
    change    TEXT,
    outcome   TEXT,                                -- done withheld skipped failed unknown; null: not yet looked at
    remote_id TEXT,
    code      TEXT,
    error     TEXT,                                -- JSON
    at        INTEGER,
    PRIMARY KEY (sync_id, record_id)
);
CREATE INDEX sync_items_coded ON sync_items (sync_id, outcome, record_id) WHERE code IS NOT NULL;

CREATE TABLE sync_settings (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    definition  TEXT NOT NULL,                     -- JSON, the server's to understand
    next_at     INTEGER,                           -- null: never by itself
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (integration, connection)
) WITHOUT ROWID;
