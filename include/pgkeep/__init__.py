"""Encrypted, replicated, proven PostgreSQL backups, kept in a private IPFS Cluster."""

__version__ = "0.1.0"
