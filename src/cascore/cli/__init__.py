"""The command line: a file for each command, which holds its arguments and what it does.

No module here loads torch when it is imported: help and mistakes in arguments are answered at once.
"""
