-- For a cluster of one's own, whose name stands for `$cluster`; nobody has tried it on one. Every version of every
-- record, and where a record of some uuid begins.
-- Each statement says whether it blocks those who read and write meanwhile, and why it does not.

-- blocks: no. It makes a table that is not there yet.
CREATE TABLE IF NOT EXISTS cdr_local ON CLUSTER '$cluster' (
    account_id UInt32,
    started_ms Int64 CODEC(Delta, LZ4),
    uuid FixedString(16),
    seq UInt64 CODEC(Delta, LZ4),
    seq_to SimpleAggregateFunction(max, UInt64),
    content SimpleAggregateFunction(max, UInt8),
    type SimpleAggregateFunction(max, UInt8),
    disposition SimpleAggregateFunction(max, UInt8),
    end_reason SimpleAggregateFunction(max, UInt8),
    agent_id SimpleAggregateFunction(max, UInt64),
    queue_id SimpleAggregateFunction(max, UInt64),
    campaign_id SimpleAggregateFunction(max, UInt64),
    team_ids SimpleAggregateFunction(max, LowCardinality(String)),
    wrapup_code SimpleAggregateFunction(max, LowCardinality(String)),
    events SimpleAggregateFunction(max, UInt32),
    duration_s SimpleAggregateFunction(max, UInt32),
    caller SimpleAggregateFunction(max, String),
    callee SimpleAggregateFunction(max, String),
    written_ms SimpleAggregateFunction(max, Int64) CODEC(Delta, LZ4),
    ended_ms SimpleAggregateFunction(max, Int64),
    json SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    INDEX caller_grams caller TYPE ngrambf_v1(6, 4096, 2, 0) GRANULARITY 1,
    INDEX callee_grams callee TYPE ngrambf_v1(6, 4096, 2, 0) GRANULARITY 1,
    INDEX content_least content TYPE minmax GRANULARITY 1,
    INDEX ended_most ended_ms TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedAggregatingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(greatest(-2208988800000, least(started_ms, 10413791999999))))
PRIMARY KEY (account_id, started_ms, uuid)
ORDER BY (account_id, started_ms, uuid, seq)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'calldex schema 1';

-- blocks: no. It makes a table that is not there yet.
CREATE TABLE IF NOT EXISTS cdr ON CLUSTER '$cluster' AS cdr_local
ENGINE = Distributed('$cluster', currentDatabase(), 'cdr_local', cityHash64(account_id))
COMMENT 'calldex schema 1';

-- blocks: no. It makes a table that is not there yet.
CREATE TABLE IF NOT EXISTS cdr_uuid_local ON CLUSTER '$cluster' (
    account_id UInt32,
    uuid FixedString(16),
    started_ms Int64
)
ENGINE = ReplicatedReplacingMergeTree
PRIMARY KEY (account_id, uuid)
ORDER BY (account_id, uuid, started_ms)
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'calldex schema 1';

-- blocks: no. It makes a table that is not there yet.
CREATE TABLE IF NOT EXISTS cdr_uuid ON CLUSTER '$cluster' AS cdr_uuid_local
ENGINE = Distributed('$cluster', currentDatabase(), 'cdr_uuid_local', cityHash64(account_id))
COMMENT 'calldex schema 1';
