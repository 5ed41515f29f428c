"""What all studies share: the store of measurements, models, comparisons, charts and pages."""
