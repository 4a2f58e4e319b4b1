"""check_groups.py OUT FULL PART GROUP…: PART, the gradients of a step that trains these groups and what
is in no group, has those of FULL to the last bit, and no others."""
import json
import struct
import sys


def read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    return {name: data[slice(*entry["data_offsets"])] for name, entry in header.items()}


parameters = json.load(open(sys.argv[1] + "/params.json"))["parameters"]
full, part = read(sys.argv[2]), read(sys.argv[3])
trained = {p["torch_name"] for p in parameters
           if p["trainable"] and p.get("update_group", "") in sys.argv[4:] + [""]}
prefix = "model." if any(name not in full for name in trained) else ""
expected = {name.removeprefix(prefix) for name in trained}
assert set(part) == expected, set(part) ^ expected
assert expected < set(full), expected - set(full)
for name in part:
    assert part[name] == full[name], name
