"""Compares the keys of docs/moire-plan.md with those in JSON files that moire-plan wrote.

json-keys.py docs/moire-plan.md FILE.json...
"""
import json
import re
import sys


def paths(value, prefix):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list):
        yield prefix + "[]"
        for inner in value:
            if isinstance(inner, dict):
                yield from paths(inner, prefix + "[]")
    else:
        yield prefix


documented = set(re.findall(r"^\| `((?:schedules|measured|predictions|balance|calibration)[^`]*)` \|",
                            open(sys.argv[1]).read(), re.M))
printed = set()
for file in sys.argv[2:]:
    printed |= set(paths(json.load(open(file)), ""))
# Plans of candidates are documented once.
plan = re.compile(r"(.*\.(?:runners_up|too_large)\[\]\.plan)\..*")
printed = {plan.sub(r"\1", key) for key in printed}
missing, stale = printed - documented, documented - printed
for key in sorted(missing):
    print("printed but not documented:", key)
for key in sorted(stale):
    print("documented but not printed:", key)
sys.exit(bool(missing or stale))
