"""JSON: the contract of `--format json`, in a file."""

import json

from mnbench.comparison.decide import Judgement
from mnbench.comparison.findings_table import judgement_payload


def json_text(judgement: Judgement) -> str:
    """What `--format json` prints."""
    return json.dumps(judgement_payload(judgement), indent=2, ensure_ascii=False) + "\n"
