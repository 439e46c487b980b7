"""TLS-terminating reverse proxy daemon."""
