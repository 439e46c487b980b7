"""The attacks of `terminator selftest`: what a stranger tries on a running daemon, and the verdict on each."""
