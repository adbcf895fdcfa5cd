-- Addresses outside that are told what happens in runs.
CREATE TABLE hooks (
    id                BLOB PRIMARY KEY,
    url               TEXT NOT NULL,
    granted           BOOLEAN NOT NULL,            -- an administrator gave the address: it may be a private one
    wants             TEXT NOT NULL,               -- JSON: which events, as the server reads it
    description       TEXT NOT NULL,
    sealed_secret     TEXT NOT NULL,
    sealed_old_secret TEXT,                        -- signs besides the new one
    old_until         INTEGER,
    enabled           BOOLEAN NOT NULL,
    stopped           TEXT,                        -- why the server disabled it
    reached           INTEGER NOT NULL,            -- events up to this one are dealt with
    attempts          INTEGER NOT NULL,            -- at the event after it
    failing_since     INTEGER,                     -- null: the last attempt got through
    next_at           INTEGER NOT NULL,
    tried             INTEGER NOT NULL,            -- number of the newest row of its attempts
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
);

-- What happened in runs, committed with the steps that it is about, while somebody wants to know.
CREATE TABLE hook_events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order of the commits; none is given twice
    id         BLOB NOT NULL,                      -- what receivers know repetitions by
    event      TEXT NOT NULL,
    origin     TEXT,                               -- the integration whose run it was
    bot_id     TEXT,
    channel_id BLOB,
    body       TEXT NOT NULL,                      -- as it is sent
    created_at INTEGER NOT NULL
);
CREATE INDEX hook_events_created ON hook_events (created_at);

CREATE TABLE hook_attempts (
    hook_id     BLOB NOT NULL,
    n           INTEGER NOT NULL,                  -- from 1
    seq         INTEGER,                           -- of its event; null for a test
    event_id    BLOB NOT NULL,
    event       TEXT NOT NULL,
    outcome     TEXT NOT NULL,                     -- delivered failed given_up gone
    status      INTEGER,
    error       TEXT,
    duration_ms INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (hook_id, n)
) WITHOUT ROWID;

-- Parts of an answer that wait for the one before them.
CREATE INDEX outbox_behind ON outbox (target, seq) WHERE state = 'held';
