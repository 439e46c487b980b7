"""Choosing: names, routes, servers, retries. Values in, decisions out, no I/O."""
