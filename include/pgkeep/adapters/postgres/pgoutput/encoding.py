"""PostgreSQL's server encodings, as Python calls them."""

import codecs
import re

# What Python does not know is carried as bytes; only names shown to people look odd.
UNKNOWN = "utf-8"
OTHERWISE = {"SQL_ASCII": UNKNOWN, "EUC_CN": "gb2312", "KOI8R": "koi8-r", "KOI8U": "koi8-u"}


def codec_of(encoding: str) -> str:
    """Python's codec for a server_encoding. All of them leave ASCII alone."""
    name = OTHERWISE.get(encoding) or re.sub(r"^WIN(\d+)$", r"cp\1", encoding)
    try:
        return codecs.lookup(name).name
    except LookupError:
        return UNKNOWN
