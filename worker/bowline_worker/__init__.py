"""The data plane: one program with roles, each restartable at any instant."""
