"""The studies behind docs/results: `python -m paper figure3 --scale tiny`. Not installed."""
