"""The whole road on two small servers of its own: `python -m demo`."""
