"""From the rows of all sessions to the transactions of a window, in an order in which they can be run again."""
