"""
The four providers as a local HTTP server: for the demo, for training, and for the tests.

    core            server, faults, log; what a provider's world is
    <slug>          one provider's world
    worlds          all of them together, empty or filled for the demo
    control         the page and the addresses that steer a running sandbox

Nothing outside the commands and the tests imports it, and it knows none of the adapters: what an
adapter gets wrong about a provider must not be wrong here in the same way.
"""
