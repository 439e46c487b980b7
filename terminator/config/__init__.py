"""What the operator wrote: `load` reads YAML with positions, `model` says what it may contain."""
