-- Every version of every record, and what is committed with them.
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE version (
    seq INTEGER PRIMARY KEY,
    seq_to INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    uuid BLOB NOT NULL,
    started_ms INTEGER NOT NULL,
    type INTEGER NOT NULL,
    disposition INTEGER NOT NULL,
    end_reason INTEGER NOT NULL,
    agent_id INTEGER NOT NULL,
    queue_id INTEGER NOT NULL,
    campaign_id INTEGER NOT NULL,
    team_ids TEXT NOT NULL,
    wrapup_code TEXT NOT NULL,
    events INTEGER NOT NULL,
    duration_s INTEGER NOT NULL,
    caller TEXT NOT NULL,
    caller_key INTEGER NOT NULL,
    callee TEXT NOT NULL,
    callee_key INTEGER NOT NULL,
    written_ms INTEGER NOT NULL,
    json TEXT
);
CREATE UNIQUE INDEX version_uuid ON version (account_id, uuid, seq_to);
CREATE INDEX version_closed ON version (seq_to) WHERE seq_to < 4611686018427387904;
CREATE TABLE purged (account_id INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE call_row (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    source TEXT NOT NULL,
    key BLOB NOT NULL,
    links TEXT NOT NULL,
    text TEXT NOT NULL,
    uuid BLOB,
    UNIQUE (account_id, source, key)
);
CREATE TABLE call_link (
    account_id INTEGER NOT NULL,
    source TEXT NOT NULL,
    link TEXT NOT NULL,
    row_id INTEGER NOT NULL,
    PRIMARY KEY (account_id, source, link, row_id)
) WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    source TEXT NOT NULL,
    format TEXT NOT NULL,
    origin TEXT NOT NULL,
    place TEXT NOT NULL,
    reason TEXT NOT NULL,
    raw BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    UNIQUE (account_id, source, format, raw)
);
CREATE TABLE receipt (
    account_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    answer BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) WITHOUT ROWID;
