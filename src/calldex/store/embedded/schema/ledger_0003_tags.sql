-- Tags and flags, which records are searched by. Versions that are there get their values in the background, from their
-- JSON: of a column those up to `upto` have them, and those behind `last` were written with them.
ALTER TABLE version ADD COLUMN tags TEXT NOT NULL DEFAULT '';
ALTER TABLE version ADD COLUMN flags INTEGER NOT NULL DEFAULT 0;
CREATE TABLE fill (name TEXT PRIMARY KEY, upto INTEGER NOT NULL, last INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO fill SELECT 'tags', 0, ifnull(max(seq), 0) FROM version;
INSERT INTO fill SELECT 'flags', 0, ifnull(max(seq), 0) FROM version;
