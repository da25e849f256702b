"""The Jinja environment in which Hugging Face renders chat templates, from Python's jinja2 alone."""

import datetime
import json

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

NOW = datetime.datetime(2026, 7, 6, 13, 5, 9)


class Generation(jinja2.ext.Extension):
    """`{% generation %}`: the body, in a scope of its own, is written as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def _raise(message):
    raise jinja2.exceptions.TemplateError(message)


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = _tojson
    env.globals["raise_exception"] = _raise
    env.globals["strftime_now"] = lambda format: NOW.strftime(format)
    return env


def outcome(env, source, variables):
    """The text of a rendering, or the kind of its failure."""
    try:
        template = env.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        # A filter or test that does not exist is found by jinja2 while compiling.
        unknown = isinstance(error, jinja2.TemplateAssertionError) and "named" in str(error)
        return {"error": "unknown" if unknown else "syntax"}
    except SyntaxError:
        # What jinja2 lets through, such as a break outside of a loop, Python refuses.
        return {"error": "syntax"}
    try:
        return {"text": template.render(**variables)}
    except jinja2.exceptions.SecurityError:
        return {"error": "security"}
    except jinja2.UndefinedError:
        return {"error": "undefined"}
    except jinja2.TemplateRuntimeError as error:
        unknown = "No filter named" in str(error) or "No test named" in str(error)
        return {"error": "unknown" if unknown else "runtime"}
    except jinja2.TemplateError as error:
        return {"error": "raised", "message": str(error)}
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, AttributeError, KeyError,
            LookupError, AssertionError):
        return {"error": "runtime"}
