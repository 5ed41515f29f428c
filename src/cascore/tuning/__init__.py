"""Order and kappa of consistent sampling, tuned for a model and a number of network calls.

`search` looks for them with any objective, `frechet_objective` is the one of the command, and
`advice` is what `sample` and `evaluate` take from it afterwards.
"""
