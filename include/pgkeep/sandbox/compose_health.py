"""Whether a component of Airflow is well, as its api-server knows it: a health check of docker-compose.yml.

    python -m pgkeep.sandbox.compose_health URL COMPONENT

COMPONENT is metadatabase, scheduler, dag_processor or triggerer; the exit code is 0 if it is healthy, else 1.
`airflow jobs check` would say the same, but takes seconds of processor time to start, each time.
"""

import json
import sys
from collections.abc import Sequence
from urllib.request import ProxyHandler, build_opener


def status(url: str, component: str) -> str:
    """What the api-server at `url` says of that component; why not, if it says nothing."""
    opener = build_opener(ProxyHandler({}))  # a proxy set for the outside would be asked for our own containers, too
    try:
        with opener.open(f"{url}/api/v2/monitor/health", timeout=10) as answer:
            said = json.load(answer)
    except (OSError, ValueError) as error:
        return f"no answer from {url} ({type(error).__name__})"
    part = said.get(component) or {}
    return str(part.get("status"))


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 2:
        sys.exit("usage: python -m pgkeep.sandbox.compose_health URL COMPONENT")
    found = status(*arguments)
    sys.stdout.write(f"{found}\n")
    sys.exit(0 if found == "healthy" else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
