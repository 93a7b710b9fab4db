"""The control plane: decides what runs, and never opens a database connection."""
