"""HTTP for every object: problem documents, correlation, limits, health."""
