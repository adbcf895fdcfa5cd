-- Model providers that are configured by the API; the one of the environment has no row.
CREATE TABLE providers (
    id             TEXT PRIMARY KEY,
    kind           TEXT NOT NULL,                   -- openai anthropic ollama
    base_url       TEXT NOT NULL,
    sealed_api_key TEXT,
    models         TEXT NOT NULL,                   -- JSON list of names
    defaults       TEXT NOT NULL,                   -- JSON object: what a request has unless its bot says otherwise
    updated_at     INTEGER NOT NULL
) WITHOUT ROWID;
