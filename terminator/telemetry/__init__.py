"""What is told: the catalogue of events, the journal that writes them, the board of counters and its exposition."""
