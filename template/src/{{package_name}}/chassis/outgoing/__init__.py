"""Outgoing: what lies behind URLs that callers give is fetched without being led where callers may not go.

A URL that an operator writes into the settings needs none of this.
"""
