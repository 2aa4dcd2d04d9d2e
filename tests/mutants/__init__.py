"""
Does the suite have teeth? Faults put into the product on purpose, each to be caught by a test.

    table.py        the mutants, as data
    __main__.py     `python -m tests.mutants`: each into a throw-away copy, and run its tests
"""
