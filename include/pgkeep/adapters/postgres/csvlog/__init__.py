"""The changes of a database from PostgreSQL's CSV logs, where logical decoding cannot be had."""
