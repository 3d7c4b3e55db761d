"""Texts that attack what shows them, and what has to hold of every text that mnbench writes."""

import re

CONTROL = {
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "clear screen": "v1\x1b[2J\x1b[H",
    "eight-bit escape": "v1\x9b2J",
    "bell": "v1\x07",
    "backspace": "slower\b\b\b\b\b\bfaster",
    "carriage return": "v1\rPASS",
    "null": "v1\0x",
    "right to left": "v1\u202egnp.exe",
    "isolate": "v1\u2066x\u2069",
    "invisible": "v\u200b1",
    "tag characters": "v1\U000e0041",
}
LINES = {
    "new line": "v1\n::error::boom",
    "line separator": "v1\u2028::error::boom",
    "next line": "v1\x85::error::boom",
    "form feed": "v1\f::error::boom",
}
CI = {
    "workflow command": "::error file=a::boom",
    "command after blanks": "  ::add-mask::v1",
    "old command": "v1 ##[group]boom",
    "pipelines command": "##vso[task.setvariable variable=PATH]/evil",
    "service message": "##teamcity[testFailed name='x']",
}
MARKUP = {
    "html": "<img src=x onerror=alert(1)>",
    "image": "![v1](http://evil.example/x.png)",
    "link": "[v1](http://evil.example)",
    "bare link": "see http://evil.example/x",
    "bare address": "www.evil.example",
    "mention": "@octocat look",
    "escaped bar": "v1\\|x|y",
    "emphasis": "**v1** __x__",
    "code": "`v1` x",
    "formula of mathematics": "$x$",
    "entity": "&lt;b&gt;",
}
LATEX = {"a row's options": "[5cm]v1", "a starred row": "*v1", "program": "v1\n\\immediate\\write18{id}"}
FORMULAS = {
    "link": '=HYPERLINK("http://evil.example")',
    "program": "-1+cmd|' /C calc'!A0",
    "sum": "+1+1",
    "function": "@SUM(1)",
    "after a tab": "\t=1+1",
    "after a line": "\r=1+1",
    "full width": "＝1+1",
}
PAGE = {
    "comment": "<!--<script>",
    "end of script": "</script><script>alert(1)</script>",
    "attribute": "\" onclick='x' x=\"",
}
SHELL = {"second command": "x; touch Y #", "substitution": "$(touch Y)", "quotes": "a'b\"c", "option": "--results=x"}
ATTACKS = [text for kind in (CONTROL, LINES, CI, MARKUP, LATEX, FORMULAS, PAGE, SHELL) for text in kind.values()]

SGR = re.compile(r"\x1b\[[\d;]*m")


def alarms(text, *, colors=False):
    """Return the lines of a text in which something is more than text, for a terminal or the log of a CI job."""
    lines = (SGR.sub("", text) if colors else text).split("\n")
    return [
        line
        for line in lines
        if not line.isprintable() or line.lstrip().startswith("::") or re.search(r"##\w*\[", line)
    ]
