-- JSON is compressed, by zstd with one of these dictionaries, which each compressed text names. A text that is not
-- begins with a brace. Versions that are there are compressed in the background: those up to `upto` are.
CREATE TABLE dictionary (id INTEGER PRIMARY KEY, content BLOB NOT NULL);
INSERT INTO fill SELECT 'json', 0, ifnull(max(seq), 0) FROM version;
