-- Each account's versions, numbered for themselves: from `seq` on, until the next row, versions are of `account_id` and
-- have its numbers from `number` on. So an account learns by its numbers nothing of what others write. A row comes where
-- another account goes on; account 0 stands for what was dropped before. The columns get the numbers in the background.
CREATE TABLE numbering (seq INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, number INTEGER NOT NULL);
CREATE INDEX numbering_seq ON numbering (account_id, seq);
CREATE INDEX numbering_number ON numbering (account_id, number);
CREATE TEMP TABLE run AS
SELECT seq, account_id, number, before, other FROM (
    SELECT seq, account_id, row_number() OVER (PARTITION BY account_id ORDER BY seq) AS number,
        lag(seq, 1, 0) OVER (ORDER BY seq) AS before, lag(account_id, 1, 0) OVER (ORDER BY seq) AS other
    FROM version INDEXED BY version_uuid
) WHERE account_id <> other OR seq <> before + 1;
INSERT INTO numbering SELECT seq, account_id, number FROM run;
INSERT INTO numbering SELECT before + 1, 0, 0 FROM run WHERE account_id <> other AND other <> 0 AND seq <> before + 1;
DROP TABLE temp.run;
INSERT INTO fill SELECT 'number', ifnull(max(seq), 0), ifnull(max(seq), 0) FROM version;
