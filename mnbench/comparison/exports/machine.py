"""JSON: the contract of `--format json`, in a file."""

import json

from mnbench.comparison.decide import Comparison
from mnbench.comparison.findings_table import comparison_to_dict


def to_json(judgement: Comparison) -> str:
    """What `--format json` prints."""
    return json.dumps(comparison_to_dict(judgement), indent=2, ensure_ascii=False) + "\n"
