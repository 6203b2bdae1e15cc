"""Where two servers answered the same requests differently."""

ABSENT = "(absent)"


def differences(ours, theirs, path=""):
    """(path, ours, theirs) for each place that differs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        out = []
        for key in list(ours) + [k for k in theirs if k not in ours]:
            out += differences(ours.get(key, ABSENT), theirs.get(key, ABSENT),
                               "%s.%s" % (path, key))
        return out
    if isinstance(ours, list) and isinstance(theirs, list):
        ours, theirs = keyed(ours), keyed(theirs)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            return differences(ours, theirs, path)
    return [] if ours == theirs else [(path, ours, theirs)]


def keyed(items):
    """Lists of structs have no order: take them by what names the items."""
    for key in ("name", "apiKey", "partitionIndex", "partition", "groupId",
                "topic", "nodeId", "brokerId", "resourceName", "index"):
        if items and all(isinstance(i, dict) and i.get(key) is not None
                         for i in items):
            names = [str(i[key]) for i in items]
            if len(set(names)) == len(names):
                return dict(zip(names, items))
    if any(isinstance(i, (dict, list)) for i in items):
        return {str(n): item for n, item in enumerate(items)}
    return items


def show(ours, theirs):
    """Prints each kind of difference once, with the answers that show it."""
    theirs = dict(theirs)
    kinds, both = {}, 0
    for label, answer in ours:
        if label not in theirs:
            continue
        both += 1
        for path, a, b in differences(answer, theirs[label]):
            kinds.setdefault((label.split(": ", 1)[1].strip(), label.split()[0],
                              path, repr(a), repr(b)), []).append(label)
    for (what, api, path, a, b), labels in kinds.items():
        versions = ",".join(label.split(": ")[0].split(" ", 1)[1]
                            for label in labels)
        print("DIFFERS %s [%s]: %s: %s: %s there %s" %
              (api, versions, what, path.lstrip("."), a, b))
    print("%d answers compared, %d kinds of difference" % (both, len(kinds)))
