"""What takes how long here, beside others."""
