"""What a run has done and found, for people and as JSON."""

import statistics

from clients import NAMES, TXN_NAMES

PROMISES = ("lost", "duplicated", "disordered", "misplaced", "altered",
            "holes")


def silences(moments, begin, end):
    """The longest that a partition went without acknowledging anything from
    the beginning of a fault until all had come back, in ms."""
    worst = 0.0
    for times in moments:
        for before, after in zip(times, times[1:]):
            worst = max(worst, min(after, end) - max(before, begin))
    return round(worst * 1000)


class Report:
    def __init__(self, seed, nodes):
        self.began = None
        self.tried = set()  # classes of faults
        self.data = {"seed": seed, "nodes": nodes, "faults": [],
                     "numbers": [], "histories": [], "kafkajs": [],
                     "anomalies": {}, "failures": []}

    def failure(self, kind, sentence):
        """kind: a fault's class, or one of the last checks."""
        self.data["failures"].append({"check": kind, "why": sentence})

    def anomaly(self, kind, count=1):
        found = self.data["anomalies"]
        found[kind] = found.get(kind, 0) + count

    def faults(self, faults, moments):
        for f in faults:
            self.data["faults"].append({
                "class": f["class"], "what": f["what"],
                "at_s": round(f["from"] - self.began, 1),
                "lasted_s": round(f["healed"] - f["from"], 1),
                "recovered_s": round(f["to"] - f["healed"], 1),
                "unavailable_ms": silences(moments, f["from"], f["to"])})

    def numbers(self, episode, result):
        self.data["numbers"].append(dict(result, episode=episode))
        for kind in PROMISES:
            if result[kind]:
                self.anomaly(kind, result[kind])

    def history(self, episode, who, result):
        rows = "kafkajs" if who == "kafkajs" else "histories"
        self.data[rows].append(dict(result, episode=episode))
        if result["violation"]:
            self.anomaly(result["violation"][0])

    # ---- for people ----

    def show(self, f):
        return "  %6.1f s  %-9s %s: %.1f s, back after %.1f s, " \
            "unavailable %d ms" % (
                f["at_s"], f["class"], f["what"], f["lasted_s"],
                f["recovered_s"], f["unavailable_ms"])

    def table(self):
        lines = ["", "fault       times  unavailable ms: median, most   "
                 "back after s: median, most"]
        classes = {}
        for f in self.data["faults"]:
            classes.setdefault(f["class"], []).append(f)
        for name, faults in classes.items():
            gaps = [f["unavailable_ms"] for f in faults]
            back = [f["recovered_s"] for f in faults]
            lines.append("%-10s  %5d  %22d, %-6d %18.1f, %.1f" % (
                name, len(faults), statistics.median(gaps), max(gaps),
                statistics.median(back), max(back)))
        return lines + ["", self.operations(), self.found()]

    def total(self, rows, key):
        return sum(row[key] for row in self.data[rows])

    def operations(self):
        lines = ["numbers: %d acknowledged, %d read" % (
            self.total("numbers", "acknowledged"),
            self.total("numbers", "read"))]
        if self.total("numbers", "stalled"):
            lines.append("  %d records were left in clients that kept their "
                         "partition with a former leader (produce.c)" %
                         self.total("numbers", "stalled"))
        for rows in ("histories", "kafkajs"):
            lines.append("%s: %d sent, %d acknowledged, %d unknown, %d read, "
                         "%d commits" % (rows, *(self.total(rows, key)
                                                 for key in NAMES)))
        lines[-1] += "; %d members, %d joins, %d crashes" % tuple(
            self.total("kafkajs", key) for key in
            ("members", "joins", "crashes"))
        counts = [row["transactions"] for row in self.data["histories"]
                  if "transactions" in row]
        lines.append("transactions: %d begun, %d committed, %d aborted, %d "
                     "unknown, %d records read" % tuple(
                         sum(c[name] for c in counts) for name in TXN_NAMES))
        return "\n".join(lines)

    def found(self):
        found = self.data["anomalies"]
        return "anomalies: " + (", ".join(
            "%s %d" % pair for pair in sorted(found.items())) or "none")
