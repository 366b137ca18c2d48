"""The Arrow IPC stream: typed columns, times with their zone, lists and nested events and legs.

The JSON is read as it is, without Python objects (`reading`). The types of columns follow from those of a record, so
they are the same when a column is empty throughout. Values of `custom` are of any type, which Arrow does not have: it
is JSON text. See https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format.
"""

from __future__ import annotations

import io
from typing import Any, Final

import msgspec
from arro3.core import DataType, Field, RecordBatch, RecordBatchReader, Schema, Table
from arro3.io import write_ipc_stream

from calldex.exports.columns import Column, Kind, Layout
from calldex.exports.reading import Reading

_END: Final = b"\xff\xff\xff\xff\0\0\0\0"
INSTANT: Final = DataType.timestamp("us", tz="UTC")
_TYPES: Final = {
    Kind.TEXT: DataType.utf8(),
    Kind.WHOLE: DataType.int64(),
    Kind.LENGTH: DataType.int64(),
    Kind.DECIMAL: DataType.float64(),
    Kind.INSTANT: INSTANT,
}


def schema(columns: tuple[Column, ...]) -> Schema:
    """The schema of a file with these columns."""
    return Schema([Field(column.name, _type(column)) for column in columns])


def _type(column: Column) -> DataType:
    return _TYPES[column.kind] if column.kind in _TYPES else _nested(column.type)


def _nested(type_: Any) -> DataType:
    info = msgspec.inspect.type_info(type_)
    return _of(info)


def _of(info: msgspec.inspect.Type) -> DataType:
    """The Arrow type of a type of a record's member."""
    match info:
        case msgspec.inspect.VarTupleType(item_type=item) | msgspec.inspect.ListType(item_type=item):
            return DataType.list(Field("item", _of(item)))
        case msgspec.inspect.StructType(fields=fields):
            return DataType.struct([Field(field.encode_name, _of(field.type)) for field in fields])
        case msgspec.inspect.UnionType(types=types):
            (some,) = (part for part in types if not isinstance(part, msgspec.inspect.NoneType))
            return _of(some)
        case msgspec.inspect.Metadata(type=inner):
            return _of(inner)
        case msgspec.inspect.IntType():
            return DataType.int64()
        case msgspec.inspect.FloatType():
            return DataType.float64()
        case msgspec.inspect.DateTimeType():
            return INSTANT
        case _:
            return DataType.utf8()


class Batches:
    """Reads records' JSON as Arrow's batches."""

    def __init__(self, layout: Layout) -> None:
        self.schema = schema(layout.columns)
        self._types = {column.name: _type(column) for column in layout.columns}
        self._reading = Reading(self._types)

    def read(self, records: bytes) -> list[RecordBatch]:
        """The batches of some records, their JSON a line each."""
        return [self._typed(batch) for batch in self._reading.table(records, Table.from_arrow).to_batches()]

    def close(self) -> None:
        """Let go of what reads."""
        self._reading.close()

    def _typed(self, batch: RecordBatch) -> RecordBatch:
        columns = [batch.column(name).cast(type_) for name, type_ in self._types.items()]
        return RecordBatch.from_arrays(columns, schema=self.schema)


class Arrow:
    """Writes the stream."""

    def __init__(self, layout: Layout) -> None:
        self._batches = Batches(layout)
        self._head = self._stream([]).removesuffix(_END)

    def begin(self) -> bytes:
        """The schema."""
        return self._head

    def convert(self, records: bytes) -> bytes:
        """The records as messages, without the schema that a stream of its own would have before them."""
        return self._stream(self._batches.read(records))[len(self._head) : -len(_END)]

    def add(self, converted: bytes) -> bytes:
        """The messages."""
        return converted

    def end(self) -> bytes:
        """The mark of the end."""
        return _END

    def close(self) -> None:
        """Let go of what reads."""
        self._batches.close()

    def _stream(self, batches: list[RecordBatch]) -> bytes:
        made = io.BytesIO()
        write_ipc_stream(RecordBatchReader.from_batches(self._batches.schema, batches), made, compression=None)
        return made.getvalue()
