"""Experiments: settings, presets, and what builds, runs, samples and judges them."""
