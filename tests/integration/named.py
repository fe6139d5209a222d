"""The program with names of its own: ``python -m tests.integration.named FILE run``.

FILE has a line ``ADDRESS NAME`` for each, as ``/etc/hosts``, and is read at each look-up, so that a test can move a name
while it runs. A name in ``.invalid`` that is not there does not exist; all others are looked up as ever.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

from connector.__main__ import main


def _name(file: Path) -> None:
    looked_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        lines = (line.split() for line in file.read_text("utf-8").splitlines())
        found = {name: address for address, name in lines}.get(host, host)
        if str(found).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return looked_up(found, *arguments, **named)

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    _name(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
