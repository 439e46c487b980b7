"""The far side: connections to backend servers, their pools and health probes."""
