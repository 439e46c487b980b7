"""The path of a connection: accept, handshake, exchanges, relay."""
