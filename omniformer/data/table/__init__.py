"""Tables as data sets: rows of any common format, and what their columns say."""

from omniformer.data.table.streamed import StreamedTable as StreamedTable
from omniformer.data.table.table import Table as Table

__all__ = ["StreamedTable", "Table"]
