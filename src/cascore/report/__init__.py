"""The page of `cascore quickstart`."""
