"""From a plan to records: models are prepared, trials run, records aggregated."""
