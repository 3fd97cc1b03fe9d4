"""Records as people read them: on the screen of the command line, and in the log of each Airflow task."""

from .audits import audited
from .keeping import fate_table, proven, rekeyed, retired, to_rekey
from .legacy import continues, failed_lines, legacy_table, replayed_line
from .listing import entry_table, verdict
from .restores import APPLIED, foreseen, planned, restored_line
from .steps import content, covered, entry_line, recorded, released, removed, replicated, sealed, stored, summary
from .words import age, counted, moment, table

__all__ = [
    "APPLIED",
    "age",
    "audited",
    "content",
    "continues",
    "counted",
    "covered",
    "entry_line",
    "entry_table",
    "failed_lines",
    "fate_table",
    "foreseen",
    "legacy_table",
    "moment",
    "planned",
    "proven",
    "recorded",
    "rekeyed",
    "released",
    "removed",
    "replayed_line",
    "replicated",
    "restored_line",
    "retired",
    "sealed",
    "stored",
    "summary",
    "table",
    "to_rekey",
    "verdict",
]
