"""Kinds of weather providers; a module that starts with an underscore is none."""
