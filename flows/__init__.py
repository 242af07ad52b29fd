"""The DAGs: which step follows which."""
