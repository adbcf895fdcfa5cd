-- Addresses outside that are told what happens in runs.
CREATE TABLE hooks (
    id                UUID PRIMARY KEY,
    url               TEXT NOT NULL,
    granted           BOOLEAN NOT NULL,            -- an administrator gave the address: it may be a private one
    wants             TEXT NOT NULL,               -- JSON: which events, as the server reads it
    description       TEXT NOT NULL,
    sealed_secret     TEXT NOT NULL,
    sealed_old_secret TEXT,                        -- signs besides the new one
    old_until         BIGINT,
    enabled           BOOLEAN NOT NULL,
    stopped           TEXT,                        -- why the server disabled it
    reached           BIGINT NOT NULL,            -- events up to this one are dealt with
    attempts          BIGINT NOT NULL,            -- at the event after it
    failing_since     BIGINT,                     -- null: the last attempt got through
    next_at           BIGINT NOT NULL,
    tried             BIGINT NOT NULL,            -- number of the newest row of its attempts
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL
);

-- What happened in runs, committed with the steps that it is about, while somebody wants to know.
CREATE TABLE hook_events (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- in the order of the commits; none is given twice
    id         UUID NOT NULL,                      -- what receivers know repetitions by
    event      TEXT NOT NULL,
    origin     TEXT,                               -- the integration whose run it was
    bot_id     TEXT,
    channel_id UUID,
    body       TEXT NOT NULL,                      -- as it is sent
    created_at BIGINT NOT NULL
);
CREATE INDEX hook_events_created ON hook_events (created_at);

CREATE TABLE hook_attempts (
    hook_id     UUID NOT NULL,
    n           BIGINT NOT NULL,                  -- from 1
    seq         BIGINT,                           -- of its event; null for a test
    event_id    UUID NOT NULL,
    event       TEXT NOT NULL,
    outcome     TEXT NOT NULL,                     -- delivered failed given_up gone
    status      BIGINT,
    error       TEXT,
    duration_ms BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (hook_id, n)
);

-- Parts of an answer that wait for the one before them.
CREATE INDEX outbox_behind ON outbox (target, seq) WHERE state = 'held';
