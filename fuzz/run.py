"""Coverage-guided fuzzing of what strangers can send before anyone is trusted: run by `python fuzz/run.py TARGET`.

`make fuzz` runs every target for a while, for example `make fuzz SECONDS=1200`. A target is a module beside this one
with `seeds()` and `check(data)`; a finding is any exception that `check` lets out. libFuzzer writes the bytes of a
finding to `.fuzz/TARGET-crash-…`; they become a case of the parser's own test, with the fix.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
WORK = HERE.parent / ".fuzz"
TARGETS = ("client_hello", "proxy_header", "request_head", "chunked_body", "certificate_names")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: run.py {'|'.join(TARGETS)} [-max_total_time=SECONDS …]")
    name, options = sys.argv[1], sys.argv[2:]
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    with atheris.instrument_imports(include=["terminator.wire", "terminator.errors", "h11"]):
        target = importlib.import_module(f"targets.{name}")
    corpus = WORK / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-artifact_prefix={WORK}/{name}-", "-max_len=4096", "-timeout=10", *options],
        target.check,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
