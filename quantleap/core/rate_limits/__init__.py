"""How many requests a caller may make: the buckets, in Redis or, without it, in this process.

docs/api/limits.md says what callers see, docs/adr/0065 why it is built like this. Nothing here
knows who a caller is; quantleap.core.api.rate_limits does.
"""
