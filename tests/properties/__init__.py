"""
What must hold in every history: twelve properties, and a machine that makes histories.

    books         the providers' own books, in one language for all four
    wire          the way to the providers: everything that can go wrong on it, and what it showed
    histories     the state machine: what people, workers, providers and clocks may do
    properties    what must hold after every step, one function each
"""
