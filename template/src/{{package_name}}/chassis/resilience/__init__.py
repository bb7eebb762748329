"""The pipeline that every call to a provider goes through."""
