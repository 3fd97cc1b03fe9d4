"""DAGs to copy from. Nothing loads them by itself."""
