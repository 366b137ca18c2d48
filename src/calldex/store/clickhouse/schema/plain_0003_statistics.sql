-- Whether there is a recording, and what statistics are made of. For one node, and for ClickHouse Cloud.
-- What a version lacks that is there already, or that an older Calldex still writes, is worked out of its JSON when it
-- is read; then each part is written again with it.

-- blocks: no. It changes what the table is said to have.
ALTER TABLE cdr
    ADD COLUMN IF NOT EXISTS has_recording SimpleAggregateFunction(max, UInt8) DEFAULT
        toUInt8(JSONExtract(json, 'recording', 'Nullable(String)') IS NOT NULL) AFTER flags,
    ADD COLUMN IF NOT EXISTS answer_ms SimpleAggregateFunction(max, UInt64) DEFAULT
        toUInt64(ifNull(if(parseDateTime64BestEffortOrNull(JSONExtract(json, 'answered_at', 'Nullable(String)'), 3, 'UTC')
            <= fromUnixTimestamp64Milli(started_ms, 'UTC'), 0, toUnixTimestamp64Milli(parseDateTime64BestEffortOrNull(
            JSONExtract(json, 'answered_at', 'Nullable(String)'), 3, 'UTC')) - started_ms) + 1, 0)) AFTER has_recording,
    ADD COLUMN IF NOT EXISTS talk_s SimpleAggregateFunction(max, UInt32) DEFAULT
        toUInt32(ifNull(JSONExtract(json, 'talk_s', 'Nullable(UInt64)') + 1, 0)) AFTER answer_ms,
    ADD COLUMN IF NOT EXISTS ring_s SimpleAggregateFunction(max, UInt32) DEFAULT
        toUInt32(ifNull(JSONExtract(json, 'ring_s', 'Nullable(UInt64)') + 1, 0)) AFTER talk_s,
    ADD COLUMN IF NOT EXISTS wait_s SimpleAggregateFunction(max, UInt32) DEFAULT
        toUInt32(ifNull(JSONExtract(json, 'wait_s', 'Nullable(UInt64)') + 1, 0)) AFTER ring_s,
    ADD COLUMN IF NOT EXISTS hold_s SimpleAggregateFunction(max, UInt32) DEFAULT
        toUInt32(ifNull(JSONExtract(json, 'hold_s', 'Nullable(UInt64)') + 1, 0)) AFTER wait_s,
    ADD COLUMN IF NOT EXISTS wrapup_s SimpleAggregateFunction(max, UInt32) DEFAULT
        toUInt32(ifNull(JSONExtract(json, 'wrapup_s', 'Nullable(UInt64)') + 1, 0)) AFTER hold_s;

-- blocks: no. Parts are written again in the background, one after another; writing and reading go on.
ALTER TABLE cdr
    MATERIALIZE COLUMN has_recording, MATERIALIZE COLUMN answer_ms, MATERIALIZE COLUMN talk_s,
    MATERIALIZE COLUMN ring_s, MATERIALIZE COLUMN wait_s, MATERIALIZE COLUMN hold_s, MATERIALIZE COLUMN wrapup_s
    SETTINGS mutations_sync = 0;

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr MODIFY COMMENT 'calldex schema 3';

-- blocks: no. It changes what the table is said to be.
ALTER TABLE cdr_uuid MODIFY COMMENT 'calldex schema 3';
