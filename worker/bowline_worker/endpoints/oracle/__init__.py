"""Oracle's endpoint: what is known of an Oracle database and of its LogMiner."""
