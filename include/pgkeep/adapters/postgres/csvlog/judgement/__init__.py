"""Whether running a statement again gives the same: told from its text and the catalog."""
