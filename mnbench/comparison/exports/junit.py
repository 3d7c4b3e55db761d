"""JUnit XML: a test case a row.

Jenkins' schema (https://github.com/jenkinsci/xunit-plugin, `junit-10.xsd`) is the strictest that is published. GitLab
shows `classname`, `name` and the text of `failure` or `error`
(https://docs.gitlab.com/ci/testing/unit_test_reports/#junit-xml-format-specification).
"""

import re
from collections import Counter
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mnbench.comparison.decide import Comparison, Finding
from mnbench.comparison.findings_table import format_change, verdict_sentence

FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold (https://www.w3.org/TR/xml/#charsets)."""

FAILURE_ELEMENTS = {"slower": "failure", "missing": "error", "incomparable": "error", "inconclusive": "error"}
ALLOWED_ELEMENTS = {"inconclusive": "skipped"}
"""In their place, if the whole has passed."""


def to_junit(judgement: Comparison) -> str:
    """A row that is slower is a failure; one of which nobody can tell is an error, or skipped; all others pass."""
    kinds = ALLOWED_ELEMENTS if judgement.verdict == "pass" else FAILURE_ELEMENTS
    count = Counter(kinds.get(finding.verdict) for finding in judgement.findings)
    attributes = {"name": "mnbench", "tests": str(len(judgement.findings))}
    attributes |= {"failures": str(count["failure"]), "errors": str(count["error"])}
    attributes["time"] = f"{judgement.duration_s:.3f}"
    suites = Element("testsuites", attributes)
    suite = SubElement(suites, "testsuite", attributes | {"skipped": str(count["skipped"])})
    properties = SubElement(suite, "properties")
    facts = {"base": judgement.base, "candidate": judgement.candidate, "run": judgement.run or "none"}
    for name, value in (facts | {"seed": str(judgement.seed)}).items():
        SubElement(properties, "property", name=name, value=_text(value))
    for finding in judgement.findings:
        _case(suite, finding, kinds.get(finding.verdict))
    SubElement(suite, "system-out").text = _text(verdict_sentence(judgement))
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _case(suite: Element, finding: Finding, kind: str | None) -> None:
    case = SubElement(suite, "testcase", name=_text(finding.variant), classname=_text(finding.device))
    message = _text(_told(finding))
    if kind == "skipped":
        SubElement(case, kind, message=message)
    elif kind:
        SubElement(case, kind, type=finding.verdict, message=message).text = message
    else:
        SubElement(case, "system-out").text = message


def _told(finding: Finding) -> str:
    """`slower: +3.1 % (+1.9 % to +4.2 %), 8 processes, 1,234 pairs: measured again …`."""
    figures = ""
    if finding.ratio and finding.low and finding.high:
        figures = (
            f": {format_change(finding.ratio)} ({format_change(finding.low)} to {format_change(finding.high)}), "
            f"{finding.processes} processes, {finding.pairs:,} pairs"
        )
    return finding.verdict + figures + (f": {finding.reason}" if finding.reason else "")


def _text(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
