"""One module per parser: seeds, and what must hold for any bytes."""
