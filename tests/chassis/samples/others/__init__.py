"""Kinds of tide providers; one has the name of a kind of weather providers."""
