"""copyright.py SITE_PACKAGES: writes debian/copyright for the package: terminator's own, then what it brings with it.

The licences are those that the installed distributions state themselves; their full texts lie beside them.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions

OWN = "terminator-proxy"
HEADER = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: terminator-proxy
Comment: terminator and, below site-packages, the libraries it runs with, each under its own licence.
"""
APACHE = """\
License: Apache-2.0
 On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.
"""


def licence(of: Distribution) -> str:
    """As its metadata has it: the SPDX expression, the classifiers, or the free text."""
    about = of.metadata
    if about["License-Expression"]:
        return str(about["License-Expression"])
    classified = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if "License ::" in line]
    return " and ".join(classified) or " ".join((about["License"] or "see its files").split())


def paragraph(of: Distribution) -> str:
    folder = "opt/terminator/lib/*/site-packages"
    files = sorted({file.parts[0] for file in of.files or () if not file.parts[0].startswith("..")} - {"__pycache__"})
    lines = [f"Files: {folder}/{files[0]}", *(f"       {folder}/{name}" for name in files[1:])]
    author = of.metadata["Author"] or of.metadata["Author-email"] or f"the authors of {of.metadata['Name']}"
    texts = sorted(str(file) for file in of.files or () if "dist-info" in str(file) and "LICENSE" in file.name.upper())
    name = licence(of)
    short = name.replace(" ", "-").replace("(", "").replace(")", "")
    lines += [f"Copyright: {' '.join(author.split())}", f"License: {short}"]
    lines.append(f" {of.metadata['Name']} {of.version} is under: {name}.")
    lines += [f" Full text: /opt/terminator/lib/*/site-packages/{text}" for text in texts]
    return "\n".join(lines) + "\n"


def main(folder: str) -> None:
    found = sorted(distributions(path=[folder]), key=lambda each: each.metadata["Name"].lower())
    own = "Files: *\nCopyright: 2026 the developers of terminator\nLicense: Apache-2.0\n"
    others = [paragraph(each) for each in found if each.metadata["Name"] != OWN]
    sys.stdout.write("\n".join([HEADER, own, *others, APACHE]))


if __name__ == "__main__":
    main(sys.argv[1])
