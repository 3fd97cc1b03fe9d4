"""The settings on which the texts of values depend: the same wherever values are read, written or compared."""

from collections.abc import Mapping

VALUE_TEXTS: Mapping[str, str] = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "lc_monetary": "C",
}
"""Roles and databases may have set others."""
