"""Writes kafka_messages.h and kafka_messages.c from schema/*.kmsg.

    generate.py HEADER SOURCE SCHEMA...

The header gets a struct per message and per struct inside it, the source the
tables that codec.h declares.  Names follow one rule: C names are the snake
case of the schema's; a struct inside of a message is called after the message,
without repeating it (MetadataResponseBroker in MetadataResponse, and FetchTopic
in FetchRequest, lose their first words).
"""

import sys

import kmsg

KEYWORDS = {"auto", "bool", "break", "case", "char", "const", "continue",
            "default", "do", "double", "else", "enum", "extern", "float",
            "for", "goto", "if", "inline", "int", "long", "register",
            "return", "short", "signed", "sizeof", "static", "struct",
            "switch", "typedef", "union", "unsigned", "void", "volatile",
            "while"}
C_TYPES = {"bool": "bool ", "int8": "int8_t ", "int16": "int16_t ",
           "uint16": "uint16_t ", "int32": "int32_t ", "int64": "int64_t ",
           "float64": "double ", "uuid": "struct uuid ",
           "string": "struct slice ", "bytes": "struct slice ",
           "records": "struct kafka_records "}
NEVER = 127  # a version that no message reaches


def c_field(name):
    name = kmsg.snake(name)
    return name + "_" if name in KEYWORDS else name


def strip_words(name, prefix):
    """The rest of `name` if `prefix` is whole words at its start."""
    rest = name[len(prefix):]
    if name.startswith(prefix) and rest[:1].isupper():
        return rest
    return None


def c_struct(message, struct):
    if struct is message.root:
        return kmsg.snake(message.name)
    rest = strip_words(struct.name, message.name)
    if rest is None and message.api:
        rest = strip_words(struct.name, message.api.name)
    return kmsg.snake(message.name) + "_" + kmsg.snake(rest or struct.name)


def inner_first(message):
    """The message's structs, each after those that it contains."""
    done = []

    def visit(struct):
        for item in struct.fields:
            if item.struct:
                visit(item.struct)
        if struct not in done:
            done.append(struct)

    visit(message.root)
    return done


def show(versions, last):
    low, high = versions
    if high == last:
        return f"{low}+"
    return str(low) if low == high else f"{low}-{high}"


def remark(item, message):
    """What a reader of the struct wants to know about a field."""
    last = message.versions[1]
    words = [show(item.versions, last)]
    if item.tag is not None:
        words.append(f"tag {item.tag}")
    if item.nullable:
        where = "" if item.nullable == item.versions else \
            " in " + show(item.nullable, last)
        words.append("may be null" + where)
    if item.ignorable:
        words.append("ignorable")
    if item.default and not item.default_null:
        words.append(f"default {item.default}")
    if item.default_null:
        words.append("default null")
    return ", ".join(words)


def declare(item, message):
    """The field's lines in the struct."""
    name = c_field(item.name)
    base = "struct " + c_struct(message, item.struct) + " " if item.struct \
        else C_TYPES[item.base]
    star = "*" if item.array or (item.struct and item.nullable) else ""
    yield f"    {base}{star}{name}; /* {remark(item, message)} */"
    if item.array:
        yield f"    int32_t {name}_len;"


def struct_lines(message, struct):
    name = c_struct(message, struct)
    yield f"struct {name} {{"
    for item in struct.fields:
        yield from declare(item, message)
    if not struct.fields:
        yield "    char nothing; /* C has no empty structs */"
    yield "};"
    yield f"extern const struct kafka_desc {name}_desc;"
    yield f"static inline void {name}_init(struct {name} *m)"
    yield "{"
    yield f"    kafka_init(&{name}_desc, m);"
    yield "}"
    yield ""


def message_title(message):
    last = message.versions[1]
    title = f"{message.name}, versions {message.versions[0]}-{last}"
    if message.flexible is not None:
        title += f", flexible from {message.flexible}"
    return title


def header(schema):
    yield "/* Generated from proto/kafka/schema by generate.py. */"
    yield "#ifndef PROTO_KAFKA_KAFKA_MESSAGES_H"
    yield "#define PROTO_KAFKA_KAFKA_MESSAGES_H"
    yield ""
    yield '#include "proto/kafka/codec.h"'
    yield ""
    yield "enum api_key {"
    for api in schema.apis:
        yield f"    API_{kmsg.snake(api.name).upper()} = {api.key},"
    yield f"    API_COUNT = {len(schema.apis)}"
    yield "};"
    yield ""
    for records in schema.record_sets:
        prefix = records.name.upper() + "_RECORD_"
        yield f"/* Record types of {records.topic}. */"
        yield f"enum {records.name}_record_type {{"
        for number, pair in sorted(records.kinds.items()):
            name = kmsg.snake(pair["key"].name[:-len("Key")]).upper()
            yield f"    {prefix}{name} = {number},"
        yield "};"
        yield ""
    yield "/* Every message, by name. */"
    yield f"enum {{ KAFKA_MESSAGE_COUNT = {len(schema.messages)} }};"
    yield "extern const struct kafka_desc"
    yield "    *const kafka_messages[KAFKA_MESSAGE_COUNT];"
    yield ""
    for message in schema.messages:
        yield f"/* ---- {message_title(message)} ---- */"
        yield ""
        for struct in inner_first(message):
            yield from struct_lines(message, struct)
    yield "#endif"


def default_number(item):
    if item.default in (None, "null", "false"):
        return "0"
    if item.default == "true":
        return "1"
    return f"INT64_C({int(item.default, 0)})"


def flags(item):
    names = [name for name, on in (
        ("KAFKA_ARRAY", item.array),
        ("KAFKA_POINTER", item.struct and item.nullable and not item.array),
        ("KAFKA_IGNORABLE", item.ignorable),
        ("KAFKA_PLAIN", item.plain),
        ("KAFKA_NULL_DEFAULT", item.default_null)) if on]
    return " | ".join(names) or "0"


def field_row(message, struct, item):
    nullable = item.nullable or (NEVER, -1)
    desc = f"&{c_struct(message, item.struct)}_desc" if item.struct else "NULL"
    kind = "STRUCT" if item.struct else item.base.upper()
    tag = -1 if item.tag is None else item.tag
    json_name = item.name[0].lower() + item.name[1:]
    yield f'    {{"{json_name}", {desc}, {default_number(item)},'
    yield (f"     offsetof(struct {c_struct(message, struct)}, "
           f"{c_field(item.name)}),")
    yield (f"     KAFKA_{kind}, {flags(item)}, "
           f"{item.versions[0]}, {item.versions[1]}, "
           f"{nullable[0]}, {nullable[1]}, {tag}}},")


def desc_lines(message, struct):
    name = c_struct(message, struct)
    plain = [f for f in struct.fields if f.tag is None]
    tagged = sorted((f for f in struct.fields if f.tag is not None),
                    key=lambda f: f.tag)
    if struct.fields:
        yield f"static const struct kafka_field {name}_fields[] = {{"
        for item in plain + tagged:
            yield from field_row(message, struct, item)
        yield "};"
    yield f"const struct kafka_desc {name}_desc = {{"
    yield f'    .name = "{struct.name}",'
    if struct.fields:
        yield f"    .fields = {name}_fields,"
    yield f"    .plain_count = {len(plain)},"
    yield f"    .field_count = {len(struct.fields)},"
    yield f"    .size_bytes = sizeof(struct {name}),"
    yield f"    .number = {message.number},"
    yield f"    .min = {message.versions[0]},"
    yield f"    .max = {message.versions[1]},"
    flexible = NEVER if message.flexible is None else message.flexible
    yield f"    .flexible_from = {flexible},"
    yield "};"
    yield ""


def api_row(api):
    name = kmsg.snake(api.name)
    ranges = [api.serve.get(listener, (0, -1))
              for listener in ("broker", "controller")]
    served = ", ".join(f"{{{low}, {high}}}" for low, high in ranges)
    yield f"    [API_{name.upper()}] ="
    yield f'        {{{api.key}, "{api.name}",'
    yield f'         "{api.about}",'
    yield f"         &{name}_request_desc, &{name}_response_desc,"
    yield f"         {{{served}}}}},"


def record_set_lines(records):
    name = records.name + "_records"
    yield f"static const struct coordinator_record {name}_items[] = {{"
    for number, pair in sorted(records.kinds.items()):
        key, value = (kmsg.snake(pair[k].name) for k in ("key", "value"))
        yield f"    {{{number}, &{key}_desc, &{value}_desc}},"
    yield "};"
    yield f"const struct coordinator_records {name} = {{"
    yield f'    "{records.topic}", {name}_items, {len(records.kinds)},'
    yield "};"
    yield ""


def source(schema):
    yield "/* Generated from proto/kafka/schema by generate.py. */"
    yield '#include "proto/kafka/api.h"'
    yield '#include "proto/kafka/coordinator_record.h"'
    yield '#include "proto/kafka/kafka_messages.h"'
    yield ""
    for message in schema.messages:
        for struct in inner_first(message):
            yield from desc_lines(message, struct)
    yield "const struct kafka_desc"
    yield "    *const kafka_messages[KAFKA_MESSAGE_COUNT] = {"
    for message in schema.messages:
        yield f"    &{kmsg.snake(message.name)}_desc,"
    yield "};"
    yield ""
    yield "const struct api api_table[API_COUNT] = {"
    for api in schema.apis:
        yield from api_row(api)
    yield "};"
    for records in schema.record_sets:
        yield ""
        yield from record_set_lines(records)


def check_names(schema):
    """Refuses schemas whose C names would collide or have holes."""
    seen = {}
    for message in schema.messages:
        for struct in inner_first(message):
            name = c_struct(message, struct)
            if name in seen:
                raise kmsg.SchemaError(
                    f"{struct.where}: struct {name} again, see {seen[name]}")
            seen[name] = struct.where
        if set(message.structs.values()) - set(inner_first(message)):
            raise kmsg.SchemaError(f"{message.where}: an unused struct")
    for index, api in enumerate(schema.apis):
        if api.key != index:
            raise kmsg.SchemaError(f"{api.where}: key {index} is missing")


def write(path, lines):
    with open(path, "w", encoding="utf-8") as out:
        for line in lines:
            out.write(line + "\n")


def main(header_path, source_path, *schema_paths):
    schema = kmsg.load(schema_paths)
    check_names(schema)
    write(header_path, header(schema))
    write(source_path, source(schema))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except kmsg.SchemaError as error:
        sys.exit(str(error))
