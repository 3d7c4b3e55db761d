"""JUnit XML: a test case a row.

Jenkins' schema (https://github.com/jenkinsci/xunit-plugin, `junit-10.xsd`) is the strictest that is published. GitLab
shows `classname`, `name` and the text of `failure` or `error`
(https://docs.gitlab.com/ci/testing/unit_test_reports/#junit-xml-format-specification).
"""

from collections import Counter
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mnbench.comparison.comparison import Comparison, format_change, verdict_sentence
from mnbench.comparison.decide import Finding
from mnbench.text import printable

FAILURE_ELEMENTS = {"slower": "failure", "missing": "error", "incomparable": "error", "inconclusive": "error"}
ALLOWED_ELEMENTS = {"inconclusive": "skipped"}
"""Used instead if the table passed."""


def export(comparison: Comparison) -> str:
    """Return a test case for each row. An inconclusive row is an error, or skipped if the table passed."""
    kinds = ALLOWED_ELEMENTS if comparison.verdict == "pass" else FAILURE_ELEMENTS
    count = Counter(kinds.get(finding.verdict) for finding in comparison.findings)
    attributes = {"name": "mnbench", "tests": str(len(comparison.findings))}
    attributes |= {"failures": str(count["failure"]), "errors": str(count["error"])}
    attributes["time"] = f"{comparison.duration_s:.3f}"
    suites = Element("testsuites", attributes)
    suite = SubElement(suites, "testsuite", attributes | {"skipped": str(count["skipped"])})
    properties = SubElement(suite, "properties")
    facts = {"base": comparison.base, "candidate": comparison.candidate, "run": comparison.run or "none"}
    for name, value in (facts | {"seed": str(comparison.seed)}).items():
        SubElement(properties, "property", name=name, value=printable(value))
    for finding in comparison.findings:
        _case(suite, finding, kinds.get(finding.verdict))
    SubElement(suite, "system-out").text = printable(verdict_sentence(comparison))
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _case(suite: Element, finding: Finding, kind: str | None) -> None:
    case = SubElement(suite, "testcase", name=printable(finding.variant), classname=printable(finding.device))
    message = printable(_message(finding))
    if kind == "skipped":
        SubElement(case, kind, message=message)
    elif kind:
        SubElement(case, kind, type=finding.verdict, message=message).text = message
    else:
        SubElement(case, "system-out").text = message


def _message(finding: Finding) -> str:
    """`slower: +3.1 % (+1.9 % to +4.2 %), 8 processes, 1,234 pairs: measured again …`."""
    figures = ""
    if finding.ratio and finding.low and finding.high:
        figures = (
            f": {format_change(finding.ratio)} ({format_change(finding.low)} to {format_change(finding.high)}), "
            f"{finding.processes} processes, {finding.pairs:,} pairs"
        )
    return finding.verdict + figures + (f": {finding.reason}" if finding.reason else "")
