"""TLS: certificates, contexts, the handshake and the stream. The only importer of ssl."""
