#!/usr/bin/env python3
"""Writes the MessagePack of the golden messages beside their JSON, by another implementation than ours (`pip install msgpack`).

Keys are sorted, as ours are; the time of a health report is a timestamp (device-link 2.4). One line of hex a message.
"""
import datetime, json, pathlib, sys
import msgpack

def ordered(value):
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(one) for one in value] if isinstance(value, list) else value

for name in ("from", "to"):
    here = pathlib.Path(__file__).parent
    lines = []
    for line in (here / f"{name}.jsonl").read_text().splitlines():
        message = ordered(json.loads(line))
        if message[3] == "health:report":
            time = datetime.datetime.fromisoformat(message[4]["value"]["timestamp"].replace("Z", "+00:00"))
            message[4]["value"]["timestamp"] = msgpack.Timestamp.from_datetime(time)
        lines.append(msgpack.packb(message).hex())
    (here / f"{name}.hex").write_text("\n".join(lines) + "\n")
