-- What proves that versions are those that were written. Rows of `link` never change, whatever is purged.
CREATE TABLE link (
    seq INTEGER PRIMARY KEY,
    covered INTEGER NOT NULL,
    digests BLOB NOT NULL,
    hash BLOB NOT NULL
);
-- How many versions of a link were purged.
CREATE TABLE link_purged (seq INTEGER PRIMARY KEY, versions INTEGER NOT NULL);
-- Versions that were found not to be what was written.
CREATE TABLE damaged (
    seq INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    uuid BLOB NOT NULL,
    what TEXT NOT NULL,
    found_ms INTEGER NOT NULL
);
