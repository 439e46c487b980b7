"""Processes: master, workers, admin, reload, systemd."""
