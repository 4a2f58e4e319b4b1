"""check_plot.py PLOT_LOG FOLDER: runs it on small logs and looks at the polylines of what it drew."""
import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

SVG = "{http://www.w3.org/2000/svg}"
tool, folder = sys.argv[1:]


def write(name, rows):
    with open(f"{folder}/{name}", "w") as file:
        file.write("\n".join(rows) + "\n")
    return f"{folder}/{name}"


def picture(*arguments):
    subprocess.run([sys.executable, tool, *arguments, "-o", f"{folder}/out.svg"], check=True)
    return ElementTree.parse(f"{folder}/out.svg").getroot()


def lines(root):
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()]
            for line in root.iter(SVG + "polyline")]


def texts(root):
    return [text.text for text in root.iter(SVG + "text")]


def near(a, b):
    assert abs(a - b) < 0.02, (a, b)


write("zero.jsonl", ['{"step": 1, "loss": 0}', '{"step": 2, "loss": 1}'])
log = write("log.jsonl", [f'{{"step": {s}, "loss": {l}}}' for s, l in [(1, 8), (2, "null"), (3, 4), (5, 2)]])

# Linear: 5 lies as far behind 3 as 3 behind 1, and the loss goes down by 4, then by 2. What is null
# has no point, and the highest value is at the top.
root = picture(log)
(points,) = lines(root)
assert len(points) == 3, points
near(points[2][0] - points[1][0], points[1][0] - points[0][0])
near(points[1][1] - points[0][1], 2 * (points[2][1] - points[1][1]))
assert 0 <= points[0][1] < points[2][1] <= float(root.get("height")), points
assert 0 <= points[0][0] < points[2][0] <= float(root.get("width")), points

# Logarithmic: halves are equally far apart.
(points,) = lines(picture(log, "--log-y", "--log-x"))
near(points[1][1] - points[0][1], points[2][1] - points[1][1])
near((points[1][0] - points[0][0]) / (points[2][0] - points[0][0]), math.log(3) / math.log(5))

# Two logs share the axes; labels and titles are escaped. 16 is twice as far from 8 as 4 is.
other = write("other.jsonl", ['{"step": 1, "loss": 16}', '{"step": 5, "loss": 4}'])
root = picture(log, f"a < b & c={other}", "--title", '"<&>"')
first, second = lines(root)
near(second[0][1] - first[0][1], -2 * (first[1][1] - first[0][1]))
near(second[1][1], first[1][1])
near(second[1][0], first[2][0])
assert "a < b & c" in texts(root) and "log" in texts(root) and '"<&>"' in texts(root), texts(root)

# Smoothing: of a zigzag between 0 and 1 the mean with two neighbours is 2/3 and 1/3; the
# points themselves are behind it.
zigzag = write("zigzag.jsonl", [f'{{"step": {s}, "loss": {s % 2}}}' for s in range(9)])
raw, smooth = lines(picture(zigzag, "--smooth", "3"))
height = raw[0][1] - raw[1][1]
near(smooth[4][1], raw[1][1] + height / 3)
near(smooth[5][1], raw[1][1] + height * 2 / 3)
near(smooth[0][1], raw[1][1] + height / 2)
assert [x for x, _ in smooth] == [x for x, _ in raw]
