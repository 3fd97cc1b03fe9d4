"""GnuPG and zstd: what makes a backup unreadable to everybody else, and provably ours."""

from .keys import KeyProblem
from .sealer import OpenPgpSealer

__all__ = ["KeyProblem", "OpenPgpSealer"]
