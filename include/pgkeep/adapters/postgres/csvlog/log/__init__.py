"""Reading the log: its files, places in it, rows, and the statements that they show."""
