"""Byte streams on non-blocking sockets, and how to connect them. Knows neither TLS nor HTTP."""
