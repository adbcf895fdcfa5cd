-- What was spent is kept by the hour, whatever window a ceiling counts in. Before, each scope had a window of its own.
CREATE TABLE usage_before AS SELECT scope, bucket, runs, tokens FROM usage;
DROP TABLE usage;
CREATE TABLE usage (
    scope             TEXT COLLATE "C" NOT NULL,               -- server, integration:forge, channel:<client_id>, bot:default, model:<name>
    hour              BIGINT NOT NULL,            -- hours since 1970
    runs              BIGINT NOT NULL,
    calls             BIGINT NOT NULL,            -- of models
    prompt_tokens     BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cost              BIGINT NOT NULL,            -- millionths of a dollar, at the prices of that time
    PRIMARY KEY (scope, hour)
);
INSERT INTO usage (scope, hour, runs, calls, prompt_tokens, completion_tokens, cost)
    SELECT scope, CASE WHEN scope LIKE 'channel:%' THEN bucket ELSE bucket * 24 END, runs, 0, tokens, 0, 0 FROM usage_before;
DROP TABLE usage_before;

CREATE TABLE prices (
    model      TEXT COLLATE "C" PRIMARY KEY,                   -- or * for every other one
    prompt     BIGINT NOT NULL,                   -- millionths of a dollar for a million tokens
    completion BIGINT NOT NULL
);

CREATE TABLE budgets (
    id         UUID PRIMARY KEY,
    scope      TEXT COLLATE "C" NOT NULL,                      -- as in usage; bot:*, integration:*, channel:* for each that has none
    period     TEXT COLLATE "C" NOT NULL,                      -- hour or day
    runs       BIGINT,
    tokens     BIGINT,
    cost       BIGINT,
    action     TEXT NOT NULL,                      -- park digest store
    created_at BIGINT NOT NULL,
    UNIQUE (scope, period)
);

-- Tasks that wait for a ceiling.
CREATE TABLE parked (
    task_id    UUID PRIMARY KEY,
    scope      TEXT COLLATE "C" NOT NULL,
    counted    BOOLEAN NOT NULL,                   -- it had begun, so that its run is counted
    created_at BIGINT NOT NULL
);
CREATE INDEX parked_since ON parked (created_at, task_id);

-- Sessions with messages that one run shall answer together; the newest of them.
CREATE TABLE digests (
    session_id       UUID PRIMARY KEY,
    message_id       UUID NOT NULL,
    seq              BIGINT NOT NULL,
    channel_id       UUID,
    delivery_id      UUID,
    bot_id           TEXT NOT NULL,
    origin           TEXT NOT NULL,
    execution_config TEXT,
    sealed_target    TEXT,
    trusted          BOOLEAN NOT NULL,
    hops             BIGINT NOT NULL,
    messages         BIGINT NOT NULL,             -- how many
    scope            TEXT COLLATE "C" NOT NULL,
    created_at       BIGINT NOT NULL              -- since when the first of them waits
);
CREATE INDEX digests_since ON digests (created_at, session_id);

ALTER TABLE notices ADD COLUMN told BOOLEAN NOT NULL DEFAULT FALSE;  -- a message about it was put into the outbox

-- Messages about notices of the last minutes: when many come, they become one.
CREATE TABLE announcements (
    at        BIGINT NOT NULL,
    outbox_id UUID NOT NULL,
    PRIMARY KEY (at, outbox_id)
);

CREATE TABLE server_settings (
    key        TEXT COLLATE "C" PRIMARY KEY,
    value      TEXT NOT NULL,                      -- secrets in it are sealed
    updated_at BIGINT NOT NULL
);
