-- What was spent is kept by the hour, whatever window a ceiling counts in. Before, each scope had a window of its own.
CREATE TABLE usage_before AS SELECT scope, bucket, runs, tokens FROM usage;
DROP TABLE usage;
CREATE TABLE usage (
    scope             TEXT NOT NULL,               -- server, integration:forge, channel:<client_id>, bot:default, model:<name>
    hour              INTEGER NOT NULL,            -- hours since 1970
    runs              INTEGER NOT NULL,
    calls             INTEGER NOT NULL,            -- of models
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost              INTEGER NOT NULL,            -- millionths of a dollar, at the prices of that time
    PRIMARY KEY (scope, hour)
) WITHOUT ROWID;
INSERT INTO usage (scope, hour, runs, calls, prompt_tokens, completion_tokens, cost)
    SELECT scope, CASE WHEN scope LIKE 'channel:%' THEN bucket ELSE bucket * 24 END, runs, 0, tokens, 0, 0 FROM usage_before;
DROP TABLE usage_before;

CREATE TABLE prices (
    model      TEXT PRIMARY KEY,                   -- or * for every other one
    prompt     INTEGER NOT NULL,                   -- millionths of a dollar for a million tokens
    completion INTEGER NOT NULL
);

CREATE TABLE budgets (
    id         BLOB PRIMARY KEY,
    scope      TEXT NOT NULL,                      -- as in usage; bot:*, integration:*, channel:* for each that has none
    period     TEXT NOT NULL,                      -- hour or day
    runs       INTEGER,
    tokens     INTEGER,
    cost       INTEGER,
    action     TEXT NOT NULL,                      -- park digest store
    created_at INTEGER NOT NULL,
    UNIQUE (scope, period)
);

-- Tasks that wait for a ceiling.
CREATE TABLE parked (
    task_id    BLOB PRIMARY KEY,
    scope      TEXT NOT NULL,
    counted    BOOLEAN NOT NULL,                   -- it had begun, so that its run is counted
    created_at INTEGER NOT NULL
);
CREATE INDEX parked_since ON parked (created_at, task_id);

-- Sessions with messages that one run shall answer together; the newest of them.
CREATE TABLE digests (
    session_id       BLOB PRIMARY KEY,
    message_id       BLOB NOT NULL,
    seq              INTEGER NOT NULL,
    channel_id       BLOB,
    delivery_id      BLOB,
    bot_id           TEXT NOT NULL,
    origin           TEXT NOT NULL,
    execution_config TEXT,
    sealed_target    TEXT,
    trusted          BOOLEAN NOT NULL,
    hops             INTEGER NOT NULL,
    messages         INTEGER NOT NULL,             -- how many
    scope            TEXT NOT NULL,
    created_at       INTEGER NOT NULL              -- since when the first of them waits
);
CREATE INDEX digests_since ON digests (created_at, session_id);

ALTER TABLE notices ADD COLUMN told BOOLEAN NOT NULL DEFAULT FALSE;  -- a message about it was put into the outbox

-- Messages about notices of the last minutes: when many come, they become one.
CREATE TABLE announcements (
    at        INTEGER NOT NULL,
    outbox_id BLOB NOT NULL,
    PRIMARY KEY (at, outbox_id)
) WITHOUT ROWID;

CREATE TABLE server_settings (
    key        TEXT PRIMARY KEY,
    value      TEXT NOT NULL,                      -- secrets in it are sealed
    updated_at INTEGER NOT NULL
);
