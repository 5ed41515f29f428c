"""The paper's figures, measured anew: units of work, their records, pictures and a page."""
