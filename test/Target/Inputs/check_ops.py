"""check_ops.py TRACE STEPS NODE…: in the tasks of each rank lie the nodes that it computed, one after the
other, in these steps and not in others; all ranks together have these nodes."""
import json
import sys

events = [e for e in json.load(open(sys.argv[1]))["traceEvents"] if e["ph"] == "X"]
names = set()
for pid in {e["pid"] for e in events}:
    row = [e for e in events if e["pid"] == pid and e["tid"] == 1]
    tasks = [e for e in row if "args" in e]
    nodes = sorted((e for e in row if "args" not in e), key=lambda e: e["ts"])
    assert tasks and nodes, row
    assert {t["args"]["step"] for t in tasks} == set(range(1, int(sys.argv[2]) + 1)), tasks
    assert len({e["name"] for e in events if e["pid"] == pid and e["tid"] == 0}) == int(sys.argv[2])
    for node in nodes:
        assert any(t["ts"] - 0.01 <= node["ts"] and node["ts"] + node["dur"] <= t["ts"] + t["dur"] + 0.01
                   for t in tasks), (node, tasks)
    assert all(a["ts"] + a["dur"] <= b["ts"] + 0.01 for a, b in zip(nodes, nodes[1:])), nodes
    names |= {n["name"] for n in nodes}
missing = set(sys.argv[3:]) - names
assert not missing, (missing, names)
