-- Tags and flags, which records are searched by. For a cluster of one's own, whose name stands for `$cluster`; nobody
-- has tried it on one.
-- What a version lacks that is there already, or that an older Calldex still writes, is worked out of its JSON when it
-- is read; then each part is written again with it.

-- blocks: no. It changes what the table is said to have.
ALTER TABLE cdr_local ON CLUSTER '$cluster'
    ADD COLUMN IF NOT EXISTS tags SimpleAggregateFunction(max, LowCardinality(String)) DEFAULT if(
        empty(JSONExtract(json, 'tags', 'Array(String)')), '', concat('\x1f', arrayStringConcat(arrayMap(
            tag -> concat(replaceAll(replaceAll(tag, '\x1e', '\x1e0'), '\x1f', '\x1e1'), '\x1f'),
            JSONExtract(json, 'tags', 'Array(String)'))))) AFTER callee,
    ADD COLUMN IF NOT EXISTS flags SimpleAggregateFunction(max, UInt32) DEFAULT
        toUInt32(has(JSONExtract(json, 'flags', 'Array(String)'), 'provisional'))
        + toUInt32(2 * has(JSONExtract(json, 'flags', 'Array(String)'), 'time_suspect'))
        + toUInt32(4 * has(JSONExtract(json, 'flags', 'Array(String)'), 'disposition_unknown')) AFTER tags;

-- blocks: no. It changes what the table over them is said to have.
ALTER TABLE cdr ON CLUSTER '$cluster'
    ADD COLUMN IF NOT EXISTS tags SimpleAggregateFunction(max, LowCardinality(String)) AFTER callee,
    ADD COLUMN IF NOT EXISTS flags SimpleAggregateFunction(max, UInt32) AFTER tags;

-- blocks: no. Parts are written again in the background, one after another; writing and reading go on.
ALTER TABLE cdr_local ON CLUSTER '$cluster' MATERIALIZE COLUMN tags, MATERIALIZE COLUMN flags SETTINGS mutations_sync = 0;

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr_local ON CLUSTER '$cluster' MODIFY COMMENT 'calldex schema 2';

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr_uuid_local ON CLUSTER '$cluster' MODIFY COMMENT 'calldex schema 2';

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr ON CLUSTER '$cluster' MODIFY COMMENT 'calldex schema 2';

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr_uuid ON CLUSTER '$cluster' MODIFY COMMENT 'calldex schema 2';
