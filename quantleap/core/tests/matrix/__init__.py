"""Every request that the API must refuse, generated from its own routes and serializers."""
