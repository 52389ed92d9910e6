"""types_defined(text): the classes, structs, enums and unions that a C++ source defines at namespace scope.

Names are qualified by their namespace. Types in functions, in other types and in unnamed namespaces are left out, as are
declarations and specialisations.
"""
import re

TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | R"(\w*)\(.*?\)\1" | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])+' |
        ^[ \t]*\#(?:[^\n]*\\\n)*[^\n]* | (?P<word>[A-Za-z_]\w*|::|[{}();<>\[\]])""",
    re.DOTALL | re.MULTILINE | re.VERBOSE)
TYPE_KEYWORDS = {"class", "struct", "enum", "union"}
OPENING, CLOSING = {"(", "[", "<"}, {")", "]", ">"}


def types_defined(text):
    found, scopes, statement = [], [], []  # a scope is a namespace's name, or None for any other block
    for match in TOKEN.finditer(text):
        word = match["word"]
        if word is None:
            continue
        if word == "{":
            namespace, name = namespace_opened(statement), type_opened(statement)
            if name and None not in scopes:
                found.append("::".join([*scopes, name]))
            scopes.append(namespace)
        elif word == "}" and scopes:
            scopes.pop()
        if word in "{};":
            statement = []
        else:
            statement.append(word)
    return found


def namespace_opened(statement):
    """The name of the namespace that `statement` opens; None for an unnamed one, and for anything else."""
    words = [word for word in statement if word != "inline"]
    return "".join(words[1:]) or None if words[:1] == ["namespace"] else None


def type_opened(statement):
    """The name of the type whose body follows `statement`; None where that is something else."""
    words, depth = [], 0
    for word in statement:  # without the arguments of templates, attributes and alignas
        depth += (word in OPENING) - (word in CLOSING)
        if depth == 0 and word not in CLOSING and word not in {"template", "__attribute__", "alignas"}:
            words.append(word)
    if not words or words[0] not in TYPE_KEYWORDS:
        return None
    names = [word for word in words if word not in TYPE_KEYWORDS]
    specialised = names and statement[statement.index(names[0]) + 1 :][:1] in (["<"], ["::"])
    return None if not names or specialised else names[0]
