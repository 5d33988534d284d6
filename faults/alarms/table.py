"""The whole table of alarms: for each fault of the registry the alerts that a run with it must bring. Pure data."""

from __future__ import annotations

from faults.alarms import table_links, table_nodes, table_parts
from faults.alarms.row import AlarmRow

ROWS: tuple[AlarmRow, ...] = tuple(
    sorted((*table_links.ROWS, *table_nodes.ROWS, *table_parts.ROWS), key=lambda row: row.fault)
)
BY_FAULT = {row.fault: row for row in ROWS}
