"""Fills in the expected texts of cases.json and conversations.json with Jinja2 itself, set up as transformers sets it up.

cases.json          {"variables", "now", "cases": [{"template", "text"}]}; "text" null: Jinja2 refuses it
conversations.json  {"now", "variables": [{...}, ...], "texts": {"<name>.jinja": [text or null for each]}}

Run it after adding templates or variables: python3 tests/data/templates/expect.py
"""
import datetime
import json
import pathlib

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment(now):
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.datetime.utcfromtimestamp(now).strftime(form)
    return env


def render(env, template, variables):
    try:
        return env.from_string(template).render(**variables)
    except Exception:
        return None


def save(name, data):
    (HERE / name).write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n")


small = json.loads((HERE / "cases.json").read_text())
env = environment(small["now"])
for case in small["cases"]:
    case["text"] = render(env, case["template"], small["variables"])
save("cases.json", small)

large = json.loads((HERE / "conversations.json").read_text())
env = environment(large["now"])
for path in sorted(HERE.glob("*.jinja")):
    large["texts"][path.name] = [render(env, path.read_text(), v) for v in large["variables"]]
save("conversations.json", large)
