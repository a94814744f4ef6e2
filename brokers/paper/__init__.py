"""Paper trading for the test environment: an in-process broker without network code.

I8 (test accounts never reach a broker) relies on that.
"""
