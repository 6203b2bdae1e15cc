"""Reads schema/*.kmsg into a model; README.md explains the notation.

A Message is a request, a response, a coordinator record's key or value, or a
structure by itself.  Its fields refer to Structs, which belong to the message.
All checks of a schema happen here, with the file and line of the mistake, so
that whatever prints code or documentation from the model can trust it.
"""

import re
from dataclasses import dataclass, field
from typing import Optional

SCALARS = ("bool", "int8", "int16", "uint16", "int32", "int64", "float64",
           "uuid")
SLICES = ("string", "bytes")
NULLABLE = SLICES + ("records",)


class SchemaError(Exception):
    pass


@dataclass
class Field:
    name: str
    base: str  # a scalar, string, bytes, records, or the name of a Struct
    array: bool
    versions: tuple  # on the wire, both inclusive
    nullable: Optional[tuple]  # may be null, both inclusive
    tag: Optional[int]
    ignorable: bool
    plain: bool  # int16 length in flexible versions too
    default: Optional[str]  # as written; None: zero, empty
    struct: Optional["Struct"] = None

    @property
    def default_null(self):
        return self.default == "null"


@dataclass(eq=False)  # two are the same only if they are one
class Struct:
    name: str
    versions: tuple
    where: str
    fields: list = field(default_factory=list)


@dataclass
class Message:
    kind: str  # request, response, key, value or message
    name: str
    number: int  # api key or record type, else -1
    versions: tuple
    flexible: Optional[int]  # the first flexible version
    where: str
    root: Struct = None
    structs: dict = field(default_factory=dict)
    api: "Api" = None


@dataclass
class Api:
    name: str
    key: int
    where: str
    about: str = ""
    note: str = ""
    serve: dict = field(default_factory=dict)  # listener -> versions
    request: Message = None
    response: Message = None


@dataclass
class RecordSet:
    name: str
    topic: str
    kinds: dict = field(default_factory=dict)  # type -> [key, value]


@dataclass
class Schema:
    apis: list = field(default_factory=list)
    messages: list = field(default_factory=list)
    record_sets: list = field(default_factory=list)


def snake(name):
    """TopicId -> topic_id, isKRaftController -> is_kraft_controller."""
    name = name.replace("KRaft", "Kraft")
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def overlap(a, b):
    return (max(a[0], b[0]), min(a[1], b[1]))


VERSIONS = r"\d+(?:\+|-\d+)?"
FIELD = re.compile(
    r"(?P<name>\w+):\s+"
    r"(?:\[(?P<element>\w+)\]|(?P<single>\w+))"
    rf"(?P<null>\?(?:{VERSIONS})?)?"
    rf"(?:\s+@(?P<versions>{VERSIONS}))?"
    r"(?:\s+tag (?P<tag>\d+))?"
    r"(?P<ignorable>\s+ignorable)?"
    r"(?P<plain>\s+plain)?"
    r"(?:\s+= (?P<default>\S+))?"
    r"(?P<open>\s+\{)?")
STRUCT = re.compile(rf"struct (?P<name>\w+)(?: @(?P<versions>{VERSIONS}))? \{{")
MESSAGE = re.compile(
    r"(?:(?P<half>request|response)"
    r"|(?P<record>key|value) (?P<record_name>\w+) type (?P<type>\d+)"
    r"|message (?P<name>\w+))"
    rf" versions (?P<versions>{VERSIONS})"
    r"(?: flexible (?P<flexible>\d+)\+)? \{")


class Parser:
    """Reads one file into the schema; `where` is the line in hand."""

    def __init__(self, schema):
        self.schema = schema
        self.where = ""
        self.api = None
        self.records = None
        self.message = None
        self.open = []  # Structs whose } is still to come

    def fail(self, text):
        raise SchemaError(f"{self.where}: {text}")

    def match(self, pattern, line):
        found = re.fullmatch(pattern, line)
        if not found:
            self.fail(f"cannot read {line!r}")
        return found

    def range(self, text, last=None):
        """"3-7", "3", or "3+" up to `last`."""
        if text.endswith("+"):
            low, high = int(text[:-1]), last
        else:
            low, _, high = text.partition("-")
            low, high = int(low), int(high or low)
        if high is None or low > high or high > (last or high):
            self.fail(f"versions {text} are empty or not the message's")
        return (low, high)

    def file(self, path):
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                self.where = f"{path}:{number}"
                line = line.strip()
                if not line or line.startswith("#"):
                    continue
                if self.message is None:
                    self.outside(line)
                elif line == "}":
                    self.close()
                else:
                    self.inside(line)
        if self.message is not None:
            self.fail("the file ends inside a message")
        if self.api and not (self.api.request and self.api.response):
            self.fail("an api has a request and a response")

    # -- outside of messages

    def outside(self, line):
        word = line.split(" ", 1)[0]
        if word == "api":
            found = self.match(r"api (\w+) (\d+)", line)
            self.api = Api(found[1], int(found[2]), self.where)
            self.schema.apis.append(self.api)
        elif word == "records":
            found = self.match(r'records (\w+) "(.+)"', line)
            self.records = RecordSet(found[1], found[2])
            self.schema.record_sets.append(self.records)
        elif word in ("about", "note", "serve") and not self.api:
            self.fail(f"{word} belongs under an api")
        elif word in ("about", "note"):
            setattr(self.api, word, self.match(rf'{word} "(.*)"', line)[1])
        elif word == "serve":
            found = self.match(
                rf"serve (broker|controller) ({VERSIONS})", line)
            self.api.serve[found[1]] = self.range(found[2])
        else:
            self.head(line)

    def head(self, line):
        found = self.match(MESSAGE, line)
        message = Message(
            kind=found["half"] or found["record"] or "message",
            name=found["name"], number=-1,
            versions=self.range(found["versions"]),
            flexible=int(found["flexible"]) if found["flexible"] else None,
            where=self.where)
        if found["half"]:
            self.half(message)
        elif found["record"]:
            self.record(message, found["record_name"], int(found["type"]))
        message.root = Struct(message.name, message.versions, self.where)
        self.message = message
        self.open = [message.root]

    def half(self, message):
        if not self.api or getattr(self.api, message.kind):
            self.fail(f"one {message.kind} belongs under one api")
        message.api = self.api
        message.name = self.api.name + message.kind.capitalize()
        message.number = self.api.key
        setattr(self.api, message.kind, message)

    def record(self, message, name, number):
        if not self.records:
            self.fail("a key or value belongs under a records line")
        pair = self.records.kinds.setdefault(number, {})
        if message.kind in pair:
            self.fail(f"a second {message.kind} of type {number}")
        pair[message.kind] = message
        message.name = name + message.kind.capitalize()
        message.number = number

    # -- inside of a message

    def inside(self, line):
        if line.startswith("struct "):
            found = self.match(STRUCT, line)
            self.open_struct(found["name"], found["versions"])
        else:
            self.field(self.match(FIELD, line))

    def open_struct(self, name, versions, outer=None):
        outer = outer or self.open[-1].versions
        if versions:
            last = self.message.versions[1]
            outer = overlap(outer, self.range(versions, last))
        if name in self.message.structs:
            self.fail(f"a second struct {name}")
        struct = Struct(name, outer, self.where)
        self.message.structs[name] = struct
        self.open.append(struct)

    def field(self, found):
        last = self.message.versions[1]
        outer = self.open[-1]
        versions, nullable = outer.versions, None
        if found["versions"]:
            versions = overlap(outer.versions,
                               self.range(found["versions"], last))
        if found["null"]:
            written = found["null"][1:]
            nullable = self.range(written, last) if written else versions
        item = Field(
            name=found["name"], base=found["element"] or found["single"],
            array=found["element"] is not None, versions=versions,
            nullable=nullable, tag=int(found["tag"]) if found["tag"] else None,
            ignorable=bool(found["ignorable"]), plain=bool(found["plain"]),
            default=found["default"])
        self.check(item)
        if item.name in (f.name for f in outer.fields):
            self.fail(f"a second field {item.name}")
        outer.fields.append(item)
        if found["open"]:
            self.open_struct(item.base, None, versions)

    def check(self, item):
        built_in = item.base in SCALARS + NULLABLE
        if not built_in and not item.base[0].isupper():
            self.fail(f"unknown type {item.base}")
        if item.versions[0] > item.versions[1]:
            self.fail("the field is in no version")
        if item.nullable and not item.array and item.base in SCALARS:
            self.fail(f"{item.base} has no null")
        if item.array and item.base in ("bytes", "records", "uint16",
                                        "float64", "bool"):
            self.fail(f"arrays of {item.base} are not provided for")
        if item.default_null and not item.nullable:
            self.fail("the default is null, but the field is never null")
        if item.nullable and not built_in and not item.array \
                and not item.default_null and item.tag is None:
            self.fail("a struct that may be null is null by default")
        if item.default and not item.default_null:
            self.check_default(item)
        if item.tag is not None:
            self.check_tag(item)

    def check_default(self, item):
        if item.array or item.base not in SCALARS:
            self.fail(f"{item.base} takes no default but null")
        if item.base == "bool":
            if item.default not in ("true", "false"):
                self.fail("a bool is true or false")
        elif item.base in ("uuid", "float64"):
            self.fail(f"{item.base} takes no default")
        else:
            try:
                int(item.default, 0)
            except ValueError:
                self.fail(f"{item.default} is no number")

    def check_tag(self, item):
        flexible = self.message.flexible
        if item.base == "records":
            self.fail("records cannot be tagged")
        if flexible is None or item.versions[0] < flexible:
            self.fail("a tagged field in a version that has no tags")
        if item.tag in (f.tag for f in self.open[-1].fields):
            self.fail(f"a second tag {item.tag}")

    def close(self):
        self.open.pop()
        if self.open:
            return
        for struct in [self.message.root, *self.message.structs.values()]:
            self.resolve(struct)
        self.refuse_cycles(self.message.root, ())
        self.schema.messages.append(self.message)
        self.message = None

    def resolve(self, struct):
        for item in struct.fields:
            if item.base in SCALARS + NULLABLE:
                continue
            item.struct = self.message.structs.get(item.base)
            if item.struct is None:
                self.fail(f"{struct.name}.{item.name}: no struct {item.base}")

    def refuse_cycles(self, struct, above):
        """Nesting has to be bounded: decoders recurse over it."""
        if struct.name in above:
            self.fail(f"struct {struct.name} contains itself")
        for item in struct.fields:
            if item.struct:
                self.refuse_cycles(item.struct, above + (struct.name,))


def check_serve(api):
    for listener, (low, high) in api.serve.items():
        known = overlap(api.request.versions, api.response.versions)
        if low < known[0] or high > known[1]:
            raise SchemaError(f"{api.where}: serve {listener} {low}-{high} "
                              f"goes beyond the messages' {known}")


def load(paths):
    """The schema in the given files: apis by key, the rest by name."""
    schema = Schema()
    for path in sorted(paths):
        Parser(schema).file(path)
    for api in schema.apis:
        check_serve(api)
    for records in schema.record_sets:
        for number, pair in records.kinds.items():
            if set(pair) != {"key", "value"}:
                raise SchemaError(f"records {records.name}: type {number} "
                                  "lacks its key or value")
    for things, name in ((schema.apis, "key"), (schema.apis, "name"),
                         (schema.messages, "name")):
        values = [getattr(thing, name) for thing in things]
        for value in values:
            if values.count(value) > 1:
                raise SchemaError(f"{name} {value} is used twice")
    schema.apis.sort(key=lambda api: api.key)
    schema.messages.sort(key=lambda message: message.name)
    return schema
