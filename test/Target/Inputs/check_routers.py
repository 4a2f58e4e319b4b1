"""check_routers.py LOG LOG: every second of four steps tells what four routers gave their eight experts in
two steps of four micro-batches of 32 tokens with two choices each, where an expert has room for the mean.
The logs are alike."""
import json
import sys

logs = [[json.loads(line) for line in open(path)] for path in sys.argv[1:]]
pairs = 32 * 2
for log in logs:
    assert ["routers" in row for row in log] == [False, True, False, True], log
    for row in (log[1], log[3]):
        assert [r["name"] for r in row["routers"]] == [f"model.layers.{i}.mlp.gate" for i in range(4)], row
        for router in row["routers"]:
            tokens, dropped = router["tokens"], router["dropped"]
            assert len(tokens) == 8 and sum(tokens) + dropped == 2 * 4 * pairs, router
            assert dropped > 0 and 0 < max(tokens) <= 2 * 4 * pairs / 8 and min(tokens) < max(tokens), router
            assert abs(router["max_over_mean"] - max(tokens) * 8 / sum(tokens)) < 1e-6, router
    assert log[1]["routers"] != log[3]["routers"], log
    assert log[1]["routers"] == logs[0][1]["routers"], (log[1], logs[0][1])
