"""Asterisk: a file of another kind says once what it seems to be."""

from __future__ import annotations

import pytest

from calldex.formats import settings_of
from calldex.formats.asterisk import FORMAT
from calldex.formats.asterisk.settings import AsteriskSettings
from calldex.records.record import CallRow, Rejected
from tests.formats.tools import line, read

CEL = (
    b'"CHAN_START","1773133200.461968","Ann","4477","4477","","44","44","in","PJSIP/c-00000001","","","3","",'
    b'"%d.1","1.1","","","",""\n'
)
QUEUE_TABLE = b"""id,time,callid,queuename,agent,event,data,data1,data2,data3,data4,data5
1,"2026-03-10 09:00:00.123456","1773133200.1","701","NONE","ENTERQUEUE","","","447700900101","1","",""
2,"2026-03-10 09:00:40.123456","1773133200.1","701","NONE","ABANDON","","1","1","40","",""
"""
TABLE = b"""calldate,clid,src,dst,channel,dstchannel,lastapp,duration,billsec,disposition,cnum,uniqueid
"2026-03-10 09:00:00","","1","2","PJSIP/c-00000001","","Dial","5","0","NO ANSWER","1","1773133200.1"
"""


@pytest.mark.parametrize(
    ("data", "seems", "advice"),
    [
        (b"".join(CEL % n for n in range(1773133200, 1773133250)), "CEL, Asterisk's log", "give its Master.csv"),
        (QUEUE_TABLE, "the table queue_log as CSV", "give the file queue_log"),
        (QUEUE_TABLE.split(b"\n", 1)[1], "the table queue_log as CSV", "give the file queue_log"),
        (b"Call 123,00000C3B,00:01:05,2026/03/10 09:00:00,Ext.201\n" * 30, "a call log of 3CX", "JSON Lines"),
        (b'{"uuid":\n "1"}\n', "JSON", "--format jsonl"),
        (b"<?xml version='1.0'?>\n<cdr core-uuid='1'>\n</cdr>", "XML", "JSON Lines"),
        (b"INSERT INTO `cdr` VALUES\n('2026-03-10 09:00:00','\"A\"');\n", "an SQL dump", "export the table cdr"),
        (b'\x1f\x8b\x08\0\n\0"\n', "a compressed file", "decompress it first"),
        (
            TABLE,
            "a table of CDR rows with a header",
            "set columns=start,clid,src,dst,channel,dstchannel,lastapp,duration,billsec,disposition,-,uniqueid",
        ),
    ],
)
def test_a_file_of_another_kind_is_told_once(data: bytes, seems: str, advice: str) -> None:
    """What it seems to be, what is supported, what to do; its lines are counted, and the first of them kept."""
    (problem,) = read(data)
    assert isinstance(problem, Rejected)
    count = len(data.splitlines())
    assert f"this seems to be {seems}" in problem.reason
    assert "supported are Master.csv of cdr_csv or cdr_custom, and queue_log" in problem.reason
    assert advice in problem.reason
    assert f"lines 1 to {count}" == problem.where
    assert (f"Of the {count} lines the first 20" in problem.reason) == (count > 20)
    assert b"\n".join(data.splitlines()[:20]) == problem.raw
    assert [problem.reason.split(" Of the")[0]] == [
        again.reason.split(" Of the")[0] for again in read(problem.raw + b"\n") if isinstance(again, Rejected)
    ]


def test_the_table_of_the_advice_can_be_read_then() -> None:
    """The columns that are named for a table with a header read its rows; the header is told as no row."""
    (problem,) = read(TABLE)
    assert isinstance(problem, Rejected)
    columns = problem.reason.partition("set columns=")[2].partition(".")[0]
    known = settings_of(FORMAT, {"zone": "UTC", "columns": columns})
    assert isinstance(known, AsteriskSettings)
    header, row = read(TABLE, known)
    assert (Rejected, CallRow) == (type(header), type(row))


def test_rows_behind_lines_of_another_kind_are_read() -> None:
    """And what cannot be read among them is told by itself."""
    found = read(b'{"a": 1}\n{"b": 2}\n' + line() + b"nonsense\n" + line(sequence="2"))
    assert [CallRow, Rejected, CallRow, Rejected] == [type(item) for item in found]
    assert ["line 4", "lines 1 to 2"] == [item.where for item in found if isinstance(item, Rejected)]
