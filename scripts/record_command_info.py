"""Record what a server's COMMAND says, for the tests of the command table.

python scripts/record_command_info.py PORT tests/commands/command_info/redis-8.2.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import redis


def key_notation(specification: dict[str, Any]) -> str:
    """Return a key specification of COMMAND in the notation of the command table's column ``keys``."""
    begin, find = specification["begin_search"], specification["find_keys"]
    if begin["type"] == "unknown" or find["type"] == "unknown":
        return "?"
    where = begin["spec"]
    start = str(where["index"]) if begin["type"] == "index" else f"{where['keyword']}@{where['startfrom']}"
    how = find["spec"]
    if find["type"] == "keynum":
        return f"#{start}" + (f"/{how['keystep']}" if how["keystep"] != 1 else "")
    last, step, share = how["lastkey"], how["keystep"], how["limit"]
    text = start + {True: "..", False: ""}[last == -1] + (f"..{last:+d}" if last not in {0, -1} else "")
    return text + (f"/{step}" if step != 1 else "") + (f":{share}" if share > 1 else "")


def plain(value: Any) -> Any:
    """Return a reply with its bytes as text and its maps as dictionaries."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    return value


def mapping(value: Any) -> dict[str, Any]:
    """Return a map that RESP2 sent as a flat list."""
    if isinstance(value, dict):
        return {
            key: mapping(each) if key in {"begin_search", "find_keys", "spec"} else each for key, each in value.items()
        }
    found = dict(zip(value[::2], value[1::2], strict=True))
    return {key: mapping(each) if key in {"begin_search", "find_keys", "spec"} else each for key, each in found.items()}


def command_info(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the flags, the key positions and the first version of each command of a server, subcommands included.

    Args:
        settings: how to connect to the server, as for redis.Redis.

    Returns:
        By name, a subcommand after a space: ``flags``, ``keys`` (in the table's notation, None where the server does not tell)
        and ``since`` (None where it does not tell).
    """
    with redis.Redis(**settings | {"decode_responses": False}) as raw:
        raw.response_callbacks.clear()
        try:
            documents = plain(raw.execute_command("COMMAND", "DOCS"))
        except redis.ResponseError:  # Redis 6.2
            documents = {}
        if isinstance(documents, list):
            documents = dict(zip(documents[::2], documents[1::2], strict=True))
        found: dict[str, dict[str, Any]] = {}

        def add(entry: list[Any], document: Any) -> None:
            document = dict(zip(document[::2], document[1::2], strict=True)) if isinstance(document, list) else document
            specifications = [mapping(each) for each in entry[8]] if len(entry) > 8 else None
            keys = None
            if specifications is not None:
                named = {key_notation(each) for each in specifications if "not_key" not in each["flags"]}
                keys = ",".join(sorted(named, key=lambda text: (text == "?", text))) or "-"
            found[entry[0].upper().replace("|", " ")] = {
                "flags": sorted(entry[2]),
                "keys": keys,
                "since": document.get("since"),
            }
            inner = document.get("subcommands", {})
            inner = dict(zip(inner[::2], inner[1::2], strict=True)) if isinstance(inner, list) else inner
            for each in entry[9] if len(entry) > 9 else ():
                add(each, inner.get(each[0], {}))

        for entry in plain(raw.execute_command("COMMAND")):
            if not entry[0].endswith(":"):  # `host:` and `post` catch HTTP requests
                add(entry, documents.get(entry[0], {}))
    found.pop("POST", None)
    return dict(sorted(found.items()))


if __name__ == "__main__":
    recorded = command_info({"port": int(sys.argv[1])})
    lines = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in recorded.items())
    Path(sys.argv[2]).write_text("{\n" + ",\n".join(lines) + "\n}\n")
