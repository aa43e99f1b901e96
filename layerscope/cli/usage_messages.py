"""Messages about wrong use that the parser of the command line finds."""

from typer._click.exceptions import BadParameter, UsageError

from layerscope.argument_messages import one_line

__all__ = ["usage_message"]

_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
}


def usage_message(error: UsageError) -> str:
    """Return the fault and the help to read; an empty string for an empty command line, which printed its help."""
    command = error.ctx.command_path if error.ctx else "layerscope"
    message = _expected(error) or error.format_message().replace("Value error, ", "")  # the parser's own words
    return f"{message}\nSee '{command} --help'." if message else ""


def _expected(error: UsageError) -> str:
    """Describe a value of the wrong type in the words of `layerscope.arguments`; an empty string for any other fault."""
    from pydantic import ValidationError  # slow to import, and rarely needed

    fault = error.__cause__
    if not isinstance(error, BadParameter) or not isinstance(fault, ValidationError) or error.param is None:
        return ""
    [first, *_] = fault.errors()
    if first["type"] not in _EXPECTED:
        return ""
    return f"{error.param.opts[-1]} is {one_line(first['input'])}, expected {_EXPECTED[first['type']]}"
