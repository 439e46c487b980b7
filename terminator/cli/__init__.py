"""One module per command, imported late so that a quick answer starts quickly."""
