"""Paper trading for the test environment: a broker in the process, without network code.

I8 (test accounts never reach a broker) rests on that.
"""
