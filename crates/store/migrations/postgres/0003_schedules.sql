CREATE TABLE schedules (
    id            UUID PRIMARY KEY,
    name          TEXT NOT NULL,
    definition    TEXT NOT NULL,                   -- when it fires and what it starts, as the server reads it
    sealed_target TEXT,
    active        BOOLEAN NOT NULL,                -- false while it is paused
    next_at       BIGINT,                         -- null when it never fires again
    last_at       BIGINT,
    last_task     UUID,
    fires         BIGINT NOT NULL,                -- number of the newest row of its history
    runs          BIGINT NOT NULL,
    missed        BIGINT NOT NULL,                -- fire times that passed while nobody was there
    skipped       BIGINT NOT NULL,                -- fire times at which its last run was still open
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE active;

CREATE TABLE fires (
    schedule_id UUID NOT NULL,
    n           BIGINT NOT NULL,                  -- from 1
    due_at      BIGINT,                           -- null: asked for by hand
    fired_at    BIGINT NOT NULL,
    outcome     TEXT NOT NULL,                     -- run skipped missed refused repeated
    missed      BIGINT NOT NULL,                  -- fire times between this one and the time it fired
    task_id     UUID,
    reason      TEXT,
    PRIMARY KEY (schedule_id, n)
);

CREATE TABLE polls (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    name        TEXT NOT NULL,
    bookmark    TEXT NOT NULL,                     -- JSON, the integration's to understand
    polled_at   BIGINT NOT NULL,
    PRIMARY KEY (integration, connection, name)
);

-- Down times whose events were not fetched yet.
CREATE TABLE gaps (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    since       BIGINT NOT NULL,
    up_to       BIGINT NOT NULL,
    PRIMARY KEY (integration, connection)
);
