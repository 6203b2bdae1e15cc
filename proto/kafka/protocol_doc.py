"""Writes docs/protocol.md from schema/*.kmsg and clients.tsv.

    protocol_doc.py [--check] DOCUMENT CLIENTS SCHEMA...

With --check it only compares: a document that is not up to date is an error.
"""

import sys

import kmsg

INTRO = """\
# Protocol support

<!-- Written by scripts/gen-protocol-doc from proto/kafka/schema and proto/kafka/clients.tsv. -->

Leat speaks the Kafka protocol. These are the APIs and the versions that it answers, as ApiVersions tells them: on the
listeners for clients (broker), and on the controllers' own. Every version from 0 is there, so that clients of any age find
one. A request for an API or a version that is not listed closes the connection, as Kafka does; only ApiVersions is answered
in version 0 with error 35 and the list.

| key | API | broker | controller | flexible from | what it does |
|---|---|---|---|---|---|
"""

CLIENTS = """
## Who sends what

Every version of the table above is spoken by `tests/api`. This is what other people's programs sent to a cluster of three
nodes in the tests of `tests/interop`, written down by `tests/interop/exercised`, and answered so that they did their work.

| API | versions: clients |
|---|---|
"""

NOBODY = "`tests/api` only"

REST = """
## Not served

The schemas know these messages, so that tools and logs can read them; requests are refused.

| key | API | versions known | what it does |
|---|---|---|---|
"""


def span(versions):
    if versions is None:
        return "–"
    low, high = versions
    return str(low) if low == high else f"{low}–{high}"


def sentence(api):
    return f"{api.about} {api.note}".strip()


def served_row(api):
    flexible = api.request.flexible
    return (f"| {api.key} | {api.name} | {span(api.serve.get('broker'))} "
            f"| {span(api.serve.get('controller'))} "
            f"| {'–' if flexible is None else flexible} | {sentence(api)} |\n")


def other_row(api):
    return (f"| {api.key} | {api.name} | {span(api.request.versions)} "
            f"| {sentence(api)} |\n")


def numbers(versions):
    """[0, 1, 2, 5] -> "0–2, 5"."""
    spans = []
    for v in sorted(versions):
        if spans and spans[-1][1] == v - 1:
            spans[-1][1] = v
        else:
            spans.append([v, v])
    return ", ".join(map(span, spans))


def load_clients(path):
    """{API: {client: versions}}"""
    sent = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                client, api, versions = line.rstrip("\n").split("\t")
                sent.setdefault(api, {})[client] = [
                    int(v) for v in versions.split(",")]
    return sent


def clients_row(api, clients):
    by_versions = {}
    for client in sorted(clients, key=str.lower):
        by_versions.setdefault(tuple(sorted(clients[client])),
                               []).append(client)
    who = "; ".join(f"{numbers(versions)}: {', '.join(names)}"
                    for versions, names in sorted(by_versions.items()))
    return f"| {api.name} | {who or NOBODY} |\n"


def document(schema, sent):
    served = [api for api in schema.apis if api.serve]
    others = [api for api in schema.apis if not api.serve]
    return (INTRO + "".join(map(served_row, served)) +
            CLIENTS + "".join(clients_row(api, sent.get(api.name, {}))
                              for api in served if "broker" in api.serve) +
            REST + "".join(map(other_row, others)))


def main(arguments):
    check = arguments[:1] == ["--check"]
    path, clients, *schema_paths = arguments[check:]
    text = document(kmsg.load(schema_paths), load_clients(clients))
    if not check:
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return
    with open(path, encoding="utf-8") as committed:
        if committed.read() != text:
            sys.exit(f"{path} is not up to date: run scripts/gen-protocol-doc")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except kmsg.SchemaError as error:
        sys.exit(str(error))
