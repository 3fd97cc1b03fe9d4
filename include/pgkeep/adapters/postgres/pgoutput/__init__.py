"""From the stream of a replication slot to SQL: pure, no I/O."""
