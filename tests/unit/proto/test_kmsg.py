"""Mistakes in a schema are refused with the line they are on, and names come
out as promised."""

import os
import sys
import tempfile
import unittest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
sys.path.insert(0, os.path.join(TOP, "proto", "kafka"))

import generate  # noqa: E402
import kmsg  # noqa: E402


def load(*lines):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "test.kmsg")
        with open(path, "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
        return kmsg.load([path])


def message(*fields, head="message Thing versions 0-3 flexible 2+ {"):
    return load(head, *fields, "}")


class Names(unittest.TestCase):
    def test_snake_case(self):
        for name, expected in (("TopicId", "topic_id"), ("ISR", "isr"),
                               ("isKRaftController", "is_kraft_controller"),
                               ("V3AndBelowTopics", "v3_and_below_topics"),
                               ("HTTPServer", "http_server")):
            self.assertEqual(kmsg.snake(name), expected)

    def test_a_struct_does_not_repeat_its_message(self):
        schema = load(
            "api Fetch 0",
            "request versions 0 {",
            "    A: [FetchTopic] {",
            "        X: int8",
            "    }",
            "    B: FetchRequestPart {",
            "        X: int8",
            "    }",
            "    C: Fetchable {",
            "        X: int8",
            "    }",
            "}",
            "response versions 0 {",
            "}")
        request = schema.apis[0].request
        names = [generate.c_struct(request, struct)
                 for struct in generate.inner_first(request)]
        self.assertEqual(names, ["fetch_request_topic", "fetch_request_part",
                                 "fetch_request_fetchable", "fetch_request"])

    def test_keywords_get_an_underscore(self):
        self.assertEqual(generate.c_field("Default"), "default_")


class Meaning(unittest.TestCase):
    def test_a_field_is_where_its_struct_is(self):
        schema = message("A: [Inner] @1+ {", "    X: string?2+ = null", "}")
        inner = schema.messages[0].structs["Inner"]
        self.assertEqual(inner.fields[0].versions, (1, 3))
        self.assertEqual(inner.fields[0].nullable, (2, 3))


class Mistakes(unittest.TestCase):
    def refuse(self, text, *fields, **head):
        with self.assertRaises(kmsg.SchemaError) as caught:
            message(*fields, **head)
        self.assertIn(text, str(caught.exception))
        self.assertRegex(str(caught.exception), r"test\.kmsg:\d+: ")

    def test_fields(self):
        self.refuse("cannot read", "A int8")
        self.refuse("cannot read", "A: int8 ignorable tag 0")
        self.refuse("unknown type", "A: int7")
        self.refuse("no struct Other", "A: Other")
        self.refuse("has no null", "A: int8?")
        self.refuse("never null", "A: string = null")
        self.refuse("takes no default", "A: string = x")
        self.refuse("is no number", "A: int8 = x")
        self.refuse("a second field", "A: int8", "A: int8")
        self.refuse("not the message's", "A: int8 @0-4")
        self.refuse("no version", "A: [B] @2+ {", "    X: int8 @0-1", "}")
        self.refuse("null by default", "A: B? {", "    X: int8", "}")

    def test_tags(self):
        self.refuse("has no tags", "A: int8 @1+ tag 0")
        self.refuse("a second tag", "A: int8 @2+ tag 0", "B: int8 @2+ tag 0")
        self.refuse("cannot be tagged", "A: records? @2+ tag 0")

    def test_structs(self):
        self.refuse("contains itself", "A: [B] {", "    C: [B]", "}")
        self.refuse("a second struct", "A: B {", "}", "C: B {", "}")
        self.refuse("ends inside", "A: B {")

    def test_apis(self):
        with self.assertRaisesRegex(kmsg.SchemaError, "goes beyond"):
            load("api A 0", "serve broker 0-2", "request versions 0-1 {", "}",
                 "response versions 0-1 {", "}")
        with self.assertRaisesRegex(kmsg.SchemaError, "a request and a"):
            load("api A 0", "request versions 0-1 {", "}")


if __name__ == "__main__":
    unittest.main()
